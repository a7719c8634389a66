"""Operators from a header: made by name from plain settings, and checked for size before anything is run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from studio.core.graph import WEIGHTED
from studio.network import operators_plain
from studio.network.operators import Operator
from studio.runtimes._packed.layout import damaged, infinite

Shape = tuple[int, ...]
LARGEST_TENSOR = 1 << 26
"""Values of one tensor, pads around it included."""
MOST_PRODUCTS = 1 << 38
"""Multiplications of one operation on one sample: minutes; real networks stay far below."""


@cache
def kinds() -> dict[str, type[Operator]]:
    """Classes of the closed operator set by kind, inputs left out."""
    assert operators_plain  # its classes are subclasses as soon as it is imported
    return {one.kind: one for one in _subclasses(Operator) if hasattr(one, "kind") and one.kind != "input"}


def _subclasses(base: type[Operator]) -> Iterator[type[Operator]]:
    for one in base.__subclasses__():
        yield one
        yield from _subclasses(one)


def build(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor | None]) -> Operator:
    """Operator from its settings as JSON has them and its tensors; raises FileError for an unknown kind."""
    made = kinds().get(kind)
    if made is None:
        raise damaged(f"unknown operator '{kind}'")
    values = {name: tuple(v) if isinstance(v, list) else infinite(v) for name, v in settings.items()}
    if set(values) != set(made.fields):
        raise damaged(f"operator '{kind}' with settings {sorted(values)}")
    return made(**tensors, **values)


def check(operator: Operator, shapes: Sequence[Shape]) -> int:
    """Upper bound of the values that an operator makes, pads included; raises FileError where it is too large to run.

    `shapes`: of its inputs. Nothing is computed and nothing allocated.
    """
    settings = operator.settings()
    values = _bound(operator, settings, shapes)
    if not 0 <= values <= LARGEST_TENSOR:
        raise damaged(f"a tensor of more than {LARGEST_TENSOR:,} values")
    if operator.kind in WEIGHTED:
        weight: Any = operator.weight
        if values * math.prod(weight.shape[1:]) > MOST_PRODUCTS:
            raise damaged(f"an operator '{operator.kind}' of more than {MOST_PRODUCTS:,} products")
    return values


def _bound(operator: Any, settings: Mapping[str, Any], shapes: Sequence[Shape]) -> int:
    kind = operator.kind
    if kind == "constant":
        return int(operator.value.numel())
    first = shapes[0]
    if kind in ("conv", "max_pool", "average_pool"):
        places = math.prod(_window_reach(operator, settings, first))
        return max(math.prod(first[:2]) * places, first[0] * _channels(operator, first) * places)
    if kind == "conv_transpose":
        channels = int(operator.weight.shape[1]) * int(settings["groups"])
        return first[0] * channels * math.prod(_spread(operator, settings, first))
    if kind == "linear":
        return math.prod(first[:-1]) * int(operator.weight.shape[0])
    if kind == "matmul":
        return math.prod(np.broadcast_shapes(first[:-2], shapes[1][:-2])) * first[-2] * shapes[1][-1]
    if kind == "concat":
        return sum(math.prod(shape) for shape in shapes)
    if kind == "gather":
        axis = int(settings["axis"])
        return math.prod(first) // max(1, first[axis]) * int(operator.indices.numel())
    if kind == "resize":
        larger = [max(int(a), b) for a, b in zip(settings["size"], first[2:], strict=True)]
        return math.prod(first[:2]) * math.prod(larger)
    if kind == "pad":
        half = len(settings["pads"]) // 2
        added = [
            max(int(a), 0) + max(int(b), 0) for a, b in zip(settings["pads"], settings["pads"][half:], strict=False)
        ]
        return math.prod(size + more for size, more in zip(first, added, strict=True))
    others = [tuple(value.shape) for value in operator.state_dict().values()] if kind == "prelu" else []
    return math.prod(np.broadcast_shapes(*shapes, *others, *([settings["shape"]] if kind == "expand" else [])))


def _channels(operator: Any, shape: Shape) -> int:
    return int(operator.weight.shape[0]) if operator.kind == "conv" else shape[1]


def _window_reach(operator: Any, settings: Mapping[str, Any], shape: Shape) -> Iterator[int]:
    """Size of each spatial axis with its pads and a last part window; raises FileError for a window that is larger."""
    kernel = tuple(operator.weight.shape[2:]) if operator.kind == "conv" else settings["kernel"]
    dilation = settings.get("dilation", (1,) * len(kernel))
    pads, half = settings["pads"], len(kernel)
    for i, (size, wide, step) in enumerate(zip(shape[2:], kernel, dilation, strict=True)):
        padded, reach = size + pads[i] + pads[half + i], step * (wide - 1) + 1
        if min(pads) < 0 or not 1 <= reach <= padded:
            raise damaged(f"a window of {reach} places over {padded}")
        yield padded + (reach if settings.get("ceil") else 0)


def _spread(operator: Any, settings: Mapping[str, Any], shape: Shape) -> Iterator[int]:
    """Size of each spatial axis of a transposed convolution before its pads are cut off."""
    for i, (size, wide) in enumerate(zip(shape[2:], operator.weight.shape[2:], strict=True)):
        reach = settings["dilation"][i] * (wide - 1) + 1
        yield (size - 1) * settings["stride"][i] + reach + settings["output_padding"][i]
