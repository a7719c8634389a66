"""Integer operations without weights on which all runtimes agree bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from studio.lowering import forms, mean, pairs
from studio.lowering.blocks import in_blocks
from studio.lowering.program import Operation, TensorFormat

INT8 = frozenset(["concat", "expand", "gather", "reshape", "resize", "slice", "transpose"])
"""Kinds whose operator moves int8 tensors as they are."""


def run(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Int8 in, int8 out."""
    if operation.kind in pairs.PREVIEW:
        values = max(x[0].numel() for x in inputs)
        return in_blocks(lambda part: _pair(operation, part[0], part[1]), inputs, values)
    if operation.kind == forms.MEAN:
        return _mean(operation, inputs[0])
    if operation.kind in ("relu", "clip"):
        return inputs[0].clamp(*operation.clamp)
    assert operation.operator is not None
    if operation.kind in INT8:
        return cast(Tensor, operation.operator(*inputs))
    if operation.kind == "pad":
        return _pad(operation, inputs[0])
    # Pooling pads with minus infinity; float32 holds every integer exactly.
    return cast(Tensor, operation.operator(*[x.float() for x in inputs]).to(torch.int8))


def _pair(operation: Operation, a: Tensor, b: Tensor) -> Tensor:
    """Float32 operation by operation, as `pairs.PREVIEW`; lowering made sure that every runtime's form gives this."""
    first, second, target = _formats(operation)
    fa, fb = a.float().sub_(first.zero_point), b.float().sub_(second.zero_point)
    if operation.kind == "add":
        ra, rb = pairs.ratios((first, second, target))
        total = fa.mul_(float(ra)) + fb.mul_(float(rb))
    elif operation.kind == "sub":
        total = (fa.mul_(first.scale) - fb.mul_(second.scale)).div_(torch.tensor(target.scale))
    else:
        total = (fa * fb).mul_(float(pairs.product_ratio((first, second, target))))
    return total.round_().add_(target.zero_point).clamp_(*operation.clamp).to(torch.int8)


def _mean(operation: Operation, x: Tensor) -> Tensor:
    source, target = _formats(operation)
    count = mean.places(tuple(x.shape))
    total = x.sum(tuple(range(2, x.dim())), dtype=torch.int32, keepdim=operation.settings.get("keep", True))
    centred = total.sub_(source.zero_point * count).float()
    centred.mul_(float(mean.multiplier(source, target, count))).round_().add_(target.zero_point)
    return centred.clamp_(*operation.clamp).to(torch.int8)


def _pad(operation: Operation, x: Tensor) -> Tensor:
    """Zeros around a tensor: its zero point."""
    source, _ = _formats(operation)
    assert operation.operator is not None
    padded: Tensor = operation.operator(x.to(torch.int16).sub_(source.zero_point))
    return padded.add_(source.zero_point).to(torch.int8)


def _formats(operation: Operation) -> tuple[TensorFormat, ...]:
    """Formats of the inputs, then of the output."""
    return tuple(f for f in (*operation.input_formats, operation.output_format) if f is not None)
