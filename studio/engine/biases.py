"""Biases that make good the mean error of rounded weights (Nagel et al. 2019, section 4.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from studio.core.encoding import Encoding
from studio.core.graph import Layer
from studio.engine import rows
from studio.engine.statistics import Statistics, channel_axes
from studio.network.network import Network
from studio.network.operators import ConvTranspose, Operator


def corrected_bias(operator: Operator, encoding: Encoding, mean: np.ndarray) -> np.ndarray:
    """Bias (channels,) float32 of a layer: `b - E[(W_q - W) x]`; `mean`: of each input channel, in the float network.

    The mean of a channel stands for all places of the kernel, which at padded borders it is not.
    """
    weight: Tensor = operator.weight.detach()  # type: ignore[operator]
    own: Tensor | None = operator.bias  # type: ignore[assignment]
    error = rows.to_matrix((torch.from_numpy(encoding.decode()) - weight).double(), operator)
    groups, inputs = error.shape[0], len(mean) // error.shape[0]
    per_input = error.reshape(groups, error.shape[1], inputs, -1).sum(3)
    shift = torch.einsum("goi,gi->go", per_input, torch.from_numpy(mean).reshape(groups, inputs)).reshape(-1)
    if isinstance(operator, ConvTranspose):
        shift = shift / float(np.prod(operator.stride))  # a place of the output meets one of so many kernel places
    old = 0.0 if own is None else own.detach().double()
    corrected: np.ndarray = (old - shift).float().numpy()
    return corrected


def input_means(network: Network, layer: Layer, statistics: Statistics) -> np.ndarray | None:
    """Mean of each of a layer's input channels; None for a linear layer whose features have none of their own."""
    source = network.by_name[layer.name].inputs[0]
    if layer.kind == "linear" and len(layer.input_shapes[0]) > 2 and channel_axes(network)[source] != -1:
        return None
    return statistics.tensors[source].mean
