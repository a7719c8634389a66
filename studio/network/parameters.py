"""Operators and networks with other weights or biases; the old ones stay as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from studio.network.network import Network
from studio.network.operators import Conv, ConvTranspose, Linear, Operator


def with_parameters(operator: Operator, weight: Tensor, bias: Tensor | None) -> Operator:
    """Weighted operator of the same geometry; a tensor that is its old one is shared, not copied."""
    if isinstance(operator, Linear):
        return Linear(weight.detach(), None if bias is None else bias.detach())
    made = bias if bias is None else bias.detach()
    if isinstance(operator, Conv):
        return Conv(weight.detach(), made, operator.stride, operator.pads, operator.dilation, operator.groups)
    if not isinstance(operator, ConvTranspose):
        raise TypeError(f"a {operator.kind} has no weights")
    return ConvTranspose(
        weight.detach(), made, operator.stride, operator.pads, operator.output_padding, operator.dilation,
        operator.groups,
    )  # fmt: skip


def with_biases(network: Network, biases: Mapping[str, np.ndarray]) -> Network:
    """Network whose named layers have these biases, (channels,) float32; all else is shared."""
    if not biases:
        return network
    nodes = [
        replace(node, operator=_biased(node.operator, biases[node.name])) if node.name in biases else node
        for node in network.nodes
    ]
    return network.with_nodes(nodes)


def _biased(operator: Operator, bias: np.ndarray) -> Operator:
    weight: Tensor = operator.weight  # type: ignore[assignment]
    return with_parameters(operator, weight, torch.from_numpy(np.ascontiguousarray(bias, np.float32)))
