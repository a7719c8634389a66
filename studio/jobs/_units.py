"""Sizes that steps of training are measured in, so that one learning rate suits every layer of every network.

Folding batch norm leaves weights of any size, and a ReLU network computes the same with one layer scaled
up and the next one down; plain gradient steps then are far too long in one and too short in the other.
Here every weight is trained as if each output channel had been drawn for its number of inputs (He et al.
2015), every bias in units of its layer's output: the steps no longer depend on how the network is scaled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.jobs._restore import by_channel
from studio.jobs._trainable import Trainable
from studio.network.network import Node

SMALLEST = 0.1
"""Least unit of a channel, relative to the layer's: dead channels do not stay dead, and do not explode."""


def units_of(model: Trainable, x: Tensor) -> dict[str, Tensor]:
    """Unit of each trained tensor, in a shape that multiplies it; x: some samples for the sizes of outputs."""
    nodes = {node.name: node for node in model.network.nodes if any(True for _ in node.operator.parameters())}
    squares = {name: _Squares(node) for name, node in nodes.items()}
    with torch.no_grad(), model.hooked(squares):
        model(x)
    found = {}
    for name, tensor in model.tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("bias", "shift"):
            found[name] = squares[layer].root()
        else:
            found[name] = _of_weight(tensor.detach(), nodes[layer].kind)
    return found


class _Squares:
    """Looks on at a layer's output, (N, ...) at a time."""

    def __init__(self, node: Node) -> None:
        self._linear = node.kind == "linear"
        self._total: Tensor | None = None
        self._count = 0

    def __call__(self, values: Tensor) -> Tensor:
        rows = values.movedim(values.dim() - 1 if self._linear else 1, 0).flatten(1)
        total = rows.square().sum(1)
        self._total = total if self._total is None else self._total + total
        self._count += rows.shape[1]
        return values

    def root(self) -> Tensor:
        """Root mean square of each channel."""
        assert self._total is not None
        return _floored((self._total / self._count).sqrt())


def _of_weight(weight: Tensor, kind: str) -> Tensor:
    """Root mean square of each output channel, times `sqrt(inputs / 2)`: 1 for a layer drawn as by He."""
    if weight.dim() < 2:
        return _root(weight)
    if kind == "conv_transpose":
        return _root(weight) * math.sqrt(max(1.0, weight[:, 0].numel() / 2))
    each = weight.flatten(1).square().mean(1).sqrt() * math.sqrt(max(1.0, weight[0].numel() / 2))
    return by_channel(_floored(each), weight.dim())


def _floored(each: Tensor) -> Tensor:
    return torch.maximum(each, SMALLEST * _root(each))


def _root(values: Tensor) -> Tensor:
    """Root mean square of all; 1 where everything is zero."""
    found = values.square().mean().sqrt()
    return torch.where(found > 0, found, torch.ones(()))
