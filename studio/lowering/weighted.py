"""Weighted operations: exact integer accumulation and requantization, or float32 on decoded weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from studio.lowering.blocks import in_blocks
from studio.lowering.program import IntegerWeights, Operation
from studio.network.operators import with_weights

EXACT = 2**24
"""Integers up to here are exact in float32, and so are sums that never leave them."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Tensors of one operation, made once. `bias` is added inside where `inside`, else behind."""

    weight: Tensor  # float32 or float64
    bias: Tensor  # (channels,)
    multiplier: Tensor
    inside: bool


_prepared: WeakKeyDictionary[IntegerWeights, dict[int, _Prepared]] = WeakKeyDictionary()


def run(operation: Operation, weights: IntegerWeights, x: Tensor) -> Tensor:
    """`rint(float32(sum((x - z_in) * q) + bias) * multiplier) + z_out`, clamped; int8 in and out."""
    channels = x.shape[1]
    values = x[0].numel() // channels * max(channels, len(weights.q))
    return in_blocks(lambda part: _run(operation, weights, part[0]), [x], values)


def _run(operation: Operation, weights: IntegerWeights, x: Tensor) -> Tensor:
    source, target = operation.input_formats[0], operation.output_format
    assert source is not None
    assert target is not None
    ready = _prepare(weights, source.zero_point)
    centred = x.to(ready.weight.dtype).sub_(source.zero_point)
    assert operation.operator is not None
    total = with_weights(operation.operator, centred, ready.weight, ready.bias if ready.inside else None)
    shape = (1, -1, *[1] * (total.dim() - 2))
    if not ready.inside:
        total = total.double().add_(ready.bias.view(shape)).float()
    total.mul_(ready.multiplier.view(shape)).round_().add_(target.zero_point)
    return total.clamp_(*operation.clamp).to(torch.int8)


def _prepare(weights: IntegerWeights, zero_point: int) -> _Prepared:
    known = _prepared.setdefault(weights, {})
    if zero_point not in known:
        largest = max(127 - zero_point, 128 + zero_point)
        reach = largest * np.abs(weights.q.astype(np.int64)).reshape(len(weights.q), -1).sum(1)
        inside = bool((reach + np.abs(weights.bias.astype(np.int64)) <= EXACT).all())
        wide = torch.float32 if bool((reach <= EXACT).all()) else torch.float64
        known[zero_point] = _Prepared(
            torch.from_numpy(weights.q).to(wide),
            torch.from_numpy(weights.bias).to(torch.float32 if inside else torch.float64),
            torch.from_numpy(weights.multiplier),
            inside,
        )
    return known[zero_point]


def run_float(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Float32 operation as the network computes it, on decoded weights where it has any."""
    operator = operation.operator
    assert operator is not None
    if operation.weight is None:
        return cast(Tensor, operator(*inputs))
    bias = None if operation.bias is None else torch.from_numpy(operation.bias)
    return with_weights(operator, inputs[0], torch.from_numpy(operation.weight), bias)
