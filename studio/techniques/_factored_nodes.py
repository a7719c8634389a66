"""Factors of a layer as nodes that take its place in a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from studio.network.network import Network, Node
from studio.network.operators import Conv, ConvTranspose, Linear, Operator


def weight_of(node: Node) -> np.ndarray:
    """Weight as a map from what the layer sees of its input: float64 (out, in, *kernel).

    transposed (in, out, kh, kw) -> (out * kh * kw, in): its inputs are seen one place at a time.
    """
    weight = node.operator.state_dict()["weight"].double().numpy()
    if isinstance(node.operator, ConvTranspose):
        return np.ascontiguousarray(weight.reshape(len(weight), -1).T)
    return np.ascontiguousarray(weight)


def factor_nodes(node: Node, weights: Sequence[np.ndarray], form: str, shift: np.ndarray | None) -> list[Node]:
    """Nodes `conv1/1`, `conv1/2` ... for factors as `studio.techniques._factor.factors` gives them.

    The bias stays behind the last, with `shift` (out,) added; so does the activation.
    """
    bias = node.operator.state_dict().get("bias")
    if bias is not None and shift is not None:
        bias = (bias.double() + torch.from_numpy(shift)).float()
    made = _operators(node.operator, [torch.from_numpy(w.astype(np.float32)) for w in weights], form, bias)
    names = [f"{node.name}/{i}" for i in range(1, len(made) + 1)]
    inputs = [node.inputs, *((name,) for name in names[:-1])]
    return [
        Node(name, f"{node.source}/{i}", reads, operator)
        for i, (name, reads, operator) in enumerate(zip(names, inputs, made, strict=True), 1)
    ]


def with_factors(network: Network, factors: Mapping[str, Sequence[Node]]) -> Network:
    """Return the network with each named layer replaced; readers and outputs take the last factor instead."""
    renamed = {name: nodes[-1].name for name, nodes in factors.items()}
    made: list[Node] = []
    for node in network.nodes:
        for one in factors.get(node.name, [node]):
            made.append(replace(one, inputs=tuple(renamed.get(name, name) for name in one.inputs)))
    return network.with_nodes(made, [renamed.get(name, name) for name in network.outputs])


def _operators(old: Operator, weights: list[Tensor], form: str, bias: Tensor | None) -> list[Operator]:
    if isinstance(old, Linear):
        return [Linear(weights[0], None), Linear(weights[1], bias)]
    if isinstance(old, ConvTranspose):
        return _transposed(old, weights, bias)
    assert isinstance(old, Conv)
    if form == "spatial":
        return _spatial(old, weights, bias)
    if form == "channel":
        return [_like(old, weights[0], None), _pointwise(weights[1], bias)]
    return [_pointwise(weights[0], None), _like(old, weights[1], None), _pointwise(weights[2], bias)]


def _like(old: Conv, weight: Tensor, bias: Tensor | None) -> Conv:
    return Conv(weight, bias, old.stride, old.pads, old.dilation, 1)


def _pointwise(weight: Tensor, bias: Tensor | None) -> Conv:
    rank = weight.dim() - 2
    return Conv(weight, bias, (1,) * rank, (0,) * 2 * rank, (1,) * rank, 1)


def _spatial(old: Conv, weights: list[Tensor], bias: Tensor | None) -> list[Operator]:
    """Vertical geometry goes to the columns, horizontal to the rows; without bias between, padding stays zero."""
    top, left, bottom, right = old.pads
    return [
        Conv(weights[0], None, (old.stride[0], 1), (top, 0, bottom, 0), (old.dilation[0], 1), 1),
        Conv(weights[1], bias, (1, old.stride[1]), (0, left, 0, right), (1, old.dilation[1]), 1),
    ]


def _transposed(old: ConvTranspose, weights: list[Tensor], bias: Tensor | None) -> list[Operator]:
    """(r, in) and (out * kh * kw, r) -> 1x1 with r filters, then transposed (r, out, kh, kw)."""
    kernel = old.weight.shape[2:]
    last = weights[1].T.reshape(-1, old.weight.shape[1], *kernel).contiguous()
    first = weights[0].reshape(*weights[0].shape, *[1] * len(kernel))
    return [
        _pointwise(first, None),
        ConvTranspose(last, bias, old.stride, old.pads, old.output_padding, old.dilation, 1),
    ]
