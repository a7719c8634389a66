"""Which operators have an integer form, and what that form asks of its tensors.

| form | kinds |
|---|---|
| weighted | conv, linear (two axes) |
| own output format | add, sub, mul of two tensors, leaky_relu, hard_swish, mean over space |
| one format for all tensors | relu, clip, pools, concat, reshape, transpose, pad, slice, resize, gather, expand |
| output format fixed by LiteRT | softmax and sigmoid (1/256, -128), tanh (1/128, 0) |
| float, between dequantize and quantize | all others |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from studio.lowering.program import TensorFormat
from studio.network.network import Node
from studio.network.operators import Operator

Shape = tuple[int, ...]
MEAN = "global_average_pool"
"""Kind of an operation that takes the mean over all places, whatever the file called it."""
MOVES = frozenset(["reshape", "transpose", "slice", "pad", "gather", "expand"])
"""Kinds that move values of one tensor: quantizing before or behind them is the same."""
SAME_FORMAT = frozenset(
    "relu clip max_pool average_pool concat reshape transpose pad slice resize gather expand".split()
)
"""Kinds whose tensors all carry one scale and zero point."""
OWN_FORMAT = frozenset(["add", "sub", "mul", "leaky_relu", "hard_swish", MEAN])
"""Kinds whose output has a scale and zero point of its own."""
FIXED = {
    "softmax": TensorFormat(1 / 256, -128),
    "sigmoid": TensorFormat(1 / 256, -128),
    "tanh": TensorFormat(1 / 128, 0),
}
"""Output formats that LiteRT demands."""


def bounds(operator: Operator) -> tuple[float, float] | None:
    """Range that an activation clips to: (0, inf) for ReLU; None for any other operator."""
    if operator.kind == "relu":
        return 0.0, math.inf
    if operator.kind != "clip":
        return None
    settings = operator.settings()
    low, high = settings["low"], settings["high"]
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def kind(node: Node, shapes: Mapping[str, Shape]) -> str:
    """Kind of the operation that stands for a node: every mean over space is one kind."""
    if node.inputs and _mean_over_space(node, shapes[node.inputs[0]], shapes[node.name]):
        return MEAN
    return node.kind


def has_integer_form(node: Node, shapes: Mapping[str, Shape], constants: frozenset[str]) -> bool:
    """True where the operation of this node can run on integers; weights are judged elsewhere."""
    if constants.intersection(node.inputs):
        return False
    found = kind(node, shapes)
    if found == "linear":
        return len(shapes[node.inputs[0]]) == 2
    if found == "softmax":
        return bool(node.operator.settings()["axis"] % len(shapes[node.name]))
    if found == "pad":
        settings = node.operator.settings()
        return bool(settings["mode"] == "constant" and settings["value"] == 0)
    return found in SAME_FORMAT or found in FIXED or found in OWN_FORMAT or found == "conv"


def _mean_over_space(node: Node, shape: Shape, result: Shape) -> bool:
    if len(shape) < 3:
        return False
    settings: Mapping[str, Any] = node.operator.settings()
    space = set(range(2, len(shape)))
    if node.kind == "reduce_mean":
        axes: Sequence[int] = settings["axes"]
        return {axis % len(shape) for axis in axes} == space
    if node.kind == "average_pool":
        return set(result[2:]) == {1} and not any(settings["pads"]) and not settings["ceil"]
    return node.kind == MEAN


def window(node: Node, shapes: Mapping[str, Shape]) -> Shape | None:
    """Places that a pool with a single window looks at, where these are not all; None for all other nodes."""
    shape = shapes[node.inputs[0]] if node.inputs else ()
    if node.kind != "average_pool" or not _mean_over_space(node, shape, shapes[node.name]):
        return None
    kernel: Shape = node.operator.settings()["kernel"]
    return None if kernel == shape[2:] else kernel
