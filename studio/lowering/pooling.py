"""Average over windows of int8 tensors, as each runtime rounds it. One format for input and output."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from studio.lowering.program import Operation, TensorFormat


def onnx_average_pool(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """ONNX Runtime: dequantized values summed one by one in float32, then `rint(mean / s + z)` of uint8."""
    source = _format(operation)
    values = inputs[0].float().sub_(source.zero_point).mul_(source.scale)
    total: Tensor | None = None
    for part in _windows(operation.operator, values):
        total = part.clone() if total is None else total.add_(part)
    assert total is not None
    total.div_(_counts(operation.operator, values.shape, total.shape).float())
    total.div_(torch.tensor(source.scale)).add_(source.zero_point + 128)
    return total.round_().sub_(128).clamp_(*operation.clamp).to(torch.int8)


def tflite_average_pool(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """LiteRT's built-in kernel: integer sum of the stored values, divided with halves away from zero."""
    source = _format(operation)
    values = inputs[0].to(torch.int32).sub_(source.zero_point)
    total: Tensor | None = None
    for part in _windows(operation.operator, values):
        total = part.clone() if total is None else total.add_(part)
    assert total is not None
    counts = _counts(operation.operator, values.shape, total.shape)
    stored = total + counts * source.zero_point
    half = torch.div(counts, 2, rounding_mode="floor") * stored.sign()
    found = torch.div(stored + half, counts, rounding_mode="trunc")
    return found.clamp_(*operation.clamp).to(torch.int8)


def _format(operation: Operation) -> TensorFormat:
    (source,) = operation.input_formats
    assert source is not None
    return source


def _windows(operator: Any, x: Tensor) -> Iterator[Tensor]:
    """Values of every window, one place of the window after the other, rows first; pads hold 0."""
    places = _places(operator, tuple(x.shape))
    flat: list[int] = []
    for i in reversed(range(len(places))):
        reach = (places[i] - 1) * operator.stride[i] + operator.kernel[i] - x.shape[2 + i] - operator.pads[i]
        flat += [operator.pads[i], max(0, reach)]
    padded = functional.pad(x, flat) if any(flat) else x
    for offset in itertools.product(*(range(k) for k in operator.kernel)):
        at = tuple(slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip(offset, places, operator.stride, strict=True))
        yield padded[(slice(None), slice(None), *at)]


def _places(operator: Any, shape: Sequence[int]) -> list[int]:
    """Number of windows along each axis."""
    rank, found = len(operator.kernel), []
    for i in range(rank):
        size = shape[2 + i] + operator.pads[i] + operator.pads[rank + i] - operator.kernel[i]
        count = (-(-size // operator.stride[i]) if operator.ceil else size // operator.stride[i]) + 1
        # A window that would start behind the input and its first pad does not count.
        count -= (count - 1) * operator.stride[i] >= shape[2 + i] + operator.pads[i]
        found.append(count)
    return found


def _counts(operator: Any, shape: Sequence[int], result: Sequence[int]) -> Tensor:
    """Number of values that each window averages: (1, 1, places...) int32."""
    rank = len(operator.kernel)
    counts = torch.ones((1, 1, *[1] * rank), dtype=torch.int32)
    for i in range(rank):
        low = -operator.pads[i] if operator.count_pads else 0
        high = shape[2 + i] + (operator.pads[rank + i] if operator.count_pads else 0)
        starts = [n * operator.stride[i] - operator.pads[i] for n in range(result[2 + i])]
        inside = [min(start + operator.kernel[i], high) - max(start, low) for start in starts]
        counts = counts * torch.tensor(inside, dtype=torch.int32).reshape([-1 if d == i else 1 for d in range(rank)])
    return counts
