"""Operators where runtimes round otherwise: one function per operator and target.

| operator | ONNX Runtime | LiteRT (XNNPACK) | ours (no target) |
|---|---|---|---|
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from studio.lowering.program import Operation, TensorFormat
from studio.network.operators import Operator

KINDS = frozenset({"average_pool", "softmax", "sigmoid", "tanh", "requantize"})
"""Kinds that are always listed."""


def is_listed(kind: str, operator: Operator) -> bool:
    """True where the runtimes' integers may differ from each other for this kind of operation."""
    if kind == "resize":
        return bool(operator.settings()["mode"] != "nearest")
    return kind in KINDS


def run(operation: Operation, inputs: Sequence[Tensor], target: str | None) -> Tensor:
    """Integers int8 of a listed operation as `target` computes them; None = ONNX Runtime's."""
    return _float_form(operation, inputs)


def _float_form(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Dequantize, compute in float32, quantize."""
    floats = [dequantize(x, f) for x, f in zip(inputs, operation.input_formats, strict=True) if f is not None]
    y = floats[0] if operation.operator is None else operation.operator(*floats)
    assert operation.output_format is not None
    return quantize(y, operation.output_format, operation.clamp)


def dequantize(x: Tensor, format: TensorFormat) -> Tensor:
    """`(q - z) * s` in float32."""
    return x.float().sub_(format.zero_point).mul_(format.scale)


def quantize(x: Tensor, format: TensorFormat, clamp: tuple[int, int] = (-128, 127)) -> Tensor:
    """`rint(x / s) + z`, ties to even, clamped; int8."""
    scaled = torch.div(x, torch.tensor(format.scale, dtype=torch.float32))
    return scaled.round_().add_(format.zero_point).clamp_(*clamp).to(torch.int8)


Function = Callable[[Operation, Sequence[Tensor]], Tensor]
