"""Integer operations without weights on which all runtimes agree bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from studio.lowering import forms, mean
from studio.lowering.program import Operation, TensorFormat


def run(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Int8 in, int8 out."""
    if operation.kind == "add":
        return _add(operation, inputs[0], inputs[1])
    if operation.kind == forms.MEAN:
        return _mean(operation, inputs[0])
    if operation.kind in ("relu", "clip"):
        return inputs[0].clamp(*operation.clamp)
    if operation.kind == "pad":
        return _centred(operation, inputs)
    return _moved(operation, inputs)


def _add(operation: Operation, a: Tensor, b: Tensor) -> Tensor:
    """Float32 operation by operation; lowering made sure that every runtime's form gives the same."""
    first, second = _formats(operation)
    assert operation.output_format is not None
    scale = torch.tensor(operation.output_format.scale)
    fa = a.float().sub_(first.zero_point).mul_(torch.tensor(first.scale) / scale)
    fb = b.float().sub_(second.zero_point).mul_(torch.tensor(second.scale) / scale)
    total = torch.add(fa, fb) if fa.shape != fb.shape else fa.add_(fb)
    return total.round_().add_(operation.output_format.zero_point).clamp_(*operation.clamp).to(torch.int8)


def _mean(operation: Operation, x: Tensor) -> Tensor:
    (source,) = _formats(operation)
    target = operation.output_format
    assert target is not None
    count = mean.places(tuple(x.shape))
    total = x.sum(tuple(range(2, x.dim())), dtype=torch.int32, keepdim=_keeps(operation))
    total.sub_(source.zero_point * count)
    y = total.float().mul_(float(mean.multiplier(source, target, count))).round_().add_(target.zero_point)
    return y.clamp_(*operation.clamp).to(torch.int8)


def _keeps(operation: Operation) -> bool:
    return bool(operation.settings.get("keepdims", True))


def _centred(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Operator on values whose zero is 0, so that what it fills in is the zero point."""
    (source,) = _formats(operation)
    assert operation.operator is not None
    y: Tensor = operation.operator(inputs[0].to(torch.int16).sub_(source.zero_point))
    return y.add(source.zero_point).to(torch.int8)


def _moved(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Operators that move or choose values: the integers themselves go through.

    Float32 holds them exactly, and every operator takes it (pooling pads with minus infinity).
    """
    assert operation.operator is not None
    moved = operation.operator(*[x.float() for x in inputs])
    return cast(Tensor, moved.to(torch.int8))


def _formats(operation: Operation) -> tuple[TensorFormat, ...]:
    return tuple(f for f in operation.input_formats if f is not None)
