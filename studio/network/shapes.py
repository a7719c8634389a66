"""Shapes of all tensors of a network."""

from __future__ import annotations

import torch

from studio.core.graph import Shape
from studio.network.network import Network


def tensor_shapes(network: Network) -> dict[str, Shape]:
    """Shape of every node's output with a batch of 1, found by running zeros."""
    shapes: dict[str, Shape] = {}
    x = [torch.zeros(node.operator.settings()["shape"]) for node in network.inputs]
    network.run(x, lambda node, value: shapes.update({node.name: tuple(value.shape)}))
    return shapes
