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

from studio.jobs._trainable import Trainable
from studio.network.network import Node

SMALLEST = 0.1
"""Least unit of a channel, relative to the layer's: dead channels do not stay dead, and do not explode."""


def units_of(model: Trainable, x: Tensor) -> dict[str, Tensor]:
    """Unit of each trained tensor, in a shape that multiplies it; x: some samples for the sizes of outputs."""
    nodes = {node.name: node for node in model.network.nodes if any(True for _ in node.operator.parameters())}
    with torch.no_grad():
        values = model(x, list(nodes))
    found = {}
    for name, tensor in model.tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("bias", "shift"):
            found[name] = _of_outputs(values[layer], nodes[layer])
        else:
            found[name] = _of_weight(tensor.detach(), nodes[layer].kind)
    return found


def _of_weight(weight: Tensor, kind: str) -> Tensor:
    """Root mean square of each output channel, times `sqrt(inputs / 2)`: 1 for a layer drawn as by He."""
    if weight.dim() < 2:
        return _root(weight)
    if kind == "conv_transpose":
        return _root(weight) * math.sqrt(max(1.0, weight[:, 0].numel() / 2))
    each = weight.flatten(1).square().mean(1).sqrt() * math.sqrt(max(1.0, weight[0].numel() / 2))
    return _floored(each).reshape(-1, *[1] * (weight.dim() - 1))


def _of_outputs(values: Tensor, node: Node) -> Tensor:
    """Root mean square of each channel of a layer's output."""
    axis = values.dim() - 1 if node.kind == "linear" else 1
    return _floored(values.movedim(axis, 0).flatten(1).square().mean(1).sqrt())


def _floored(each: Tensor) -> Tensor:
    return torch.maximum(each, SMALLEST * _root(each))


def _root(values: Tensor) -> Tensor:
    """Root mean square of all; 1 where everything is zero."""
    found = values.square().mean().sqrt()
    return torch.where(found > 0, found, torch.ones(()))
