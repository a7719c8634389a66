"""The arithmetic of cross-layer equalization (Nagel et al. 2019, section 4.1) on torch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from studio.network.network import Network
from studio.network.operators import ConvTranspose, Operator
from studio.network.parameters import with_parameters
from studio.network.partners import Partner

ROUNDS = 100
CONVERGED = 1e-3
"""Largest change of a scale at which the rounds end."""


@dataclass
class _Parameters:
    """Weight and bias of one layer in float64 while scales move, as (groups, outputs, inputs, places)."""

    weight: Tensor
    bias: Tensor | None
    turned: bool  # of a transposed convolution: stored (groups, inputs, outputs, places)


def equalized(network: Network, pairs: Mapping[str, Partner]) -> Network:
    """Network in which the largest weights of each channel agree on both sides of every pair; the same function.

    `pairs`: partner of each layer that may be scaled. All pairs take turns until no scale moves any more.
    """
    names = {*pairs, *(partner.reader for partner in pairs.values())}
    held = {name: _parameters(network.by_name[name].operator) for name in names}
    for _ in range(ROUNDS):
        moved = [_move(held[name], held[partner.reader], partner.places) for name, partner in pairs.items()]
        if max(moved, default=0.0) < CONVERGED:
            break
    nodes = [
        replace(n, operator=_operator(n.operator, held[n.name])) if n.name in held else n for n in network.nodes
    ]  # fmt: skip
    return network.with_nodes(nodes)


def _move(first: _Parameters, second: _Parameters, places: int) -> float:
    """Scale the channels between two layers; returns the largest change as |log s|."""
    written = first.weight.abs().amax((2, 3)).reshape(-1)
    read = second.weight.abs().amax((1, 3)).reshape(-1)
    read = read.reshape(len(written), places).amax(1)
    scale = torch.where((written > 0) & (read > 0), (written / read).sqrt(), torch.ones_like(written))
    groups, outputs = first.weight.shape[:2]
    first.weight = first.weight / scale.reshape(groups, outputs, 1, 1)
    if first.bias is not None:
        first.bias = first.bias / scale
    inputs = scale.repeat_interleave(places).reshape(second.weight.shape[0], 1, second.weight.shape[2], 1)
    second.weight = second.weight * inputs
    return float(scale.log().abs().max())


def _parameters(operator: Operator) -> _Parameters:
    weight, bias = cast(Tensor, operator.weight).detach().double(), cast("Tensor | None", operator.bias)
    groups = int(operator.settings().get("groups", 1))
    parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    turned = isinstance(operator, ConvTranspose)
    return _Parameters(parts.transpose(1, 2) if turned else parts, None if bias is None else bias.double(), turned)


def _operator(operator: Operator, found: _Parameters) -> Operator:
    weight = found.weight.transpose(1, 2) if found.turned else found.weight
    shape = cast(Tensor, operator.weight).shape
    bias = None if found.bias is None else found.bias.float()
    return with_parameters(operator, weight.reshape(shape).float().contiguous(), bias)
