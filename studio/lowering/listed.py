"""Operators where runtimes round otherwise: one function per operator and target.

| operator | ONNX Runtime | LiteRT (XNNPACK unless said) | measured over random formats |
|---|---|---|---|
| sigmoid, tanh | float32 between dequantize and quantize | the same | under 1 of a million values differ by one step |
| softmax | float32 between dequantize and quantize | the same | 2 of a million values differ by one step |
| average_pool | float32 sum in window order, uint8 | built-in kernel: integer sum, halves away from 0 | equal |
| leaky_relu, requantize | float32 between dequantize and quantize | fixed point with 8 bits after the point | equal |
| hard_swish | float32 between dequantize and quantize | built-in kernel: 16-bit fixed point | equal |
| resize, linear | float32, four products a value | fixed point with 11-bit weights | equal |
| mean over space, add, sub, mul that could not be reconciled | `mean`, `pairs` | `mean`, `pairs` | equal |

"Equal" is over random formats and all or random values, in tests/lowering/test_listed.py. Exponentials come
from each runtime's mathematics library, so that equality of the first two rows is measured, not guaranteed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from studio.lowering import fixed_point, forms, mean, pairs, pooling, resizing
from studio.lowering.formats import ends
from studio.lowering.program import Operation, TensorFormat
from studio.network.operators import Operator

Function = Callable[[Operation, Sequence[Tensor]], Tensor]
"""`function(operation, int8 inputs) -> int8 output`."""
KINDS = frozenset(
    ["average_pool", "hard_swish", "leaky_relu", "requantize", "sigmoid", "softmax", "tanh"]
)  # fmt: skip
"""Kinds that are always listed."""


def is_listed(kind: str, operator: Operator) -> bool:
    """True where the runtimes' integers may differ from each other for this kind of operation."""
    if kind == "resize":
        return bool(operator.settings()["mode"] != "nearest")
    return kind in KINDS


def run(operation: Operation, inputs: Sequence[Tensor], target: str | None) -> Tensor:
    """Integers int8 of a listed operation as `target` computes them; None = ours."""
    if operation.kind in pairs.TARGETS:
        return _pair(operation, inputs, target)
    if operation.kind == forms.MEAN:
        return _mean(operation, inputs, target)
    return TABLE.get((operation.kind, target), TABLE.get((operation.kind, None), in_float))(operation, inputs)


def in_float(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Dequantize, compute in float32, quantize: ONNX Runtime's way."""
    floats = [dequantize(x, f) for x, f in zip(inputs, operation.input_formats, strict=True) if f is not None]
    y = floats[0] if operation.operator is None else operation.operator(*floats)
    assert operation.output_format is not None
    return quantize(y, operation.output_format, operation.clamp)


def by_table(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """As `in_float` for an operator on single values: all 256 of them once, in float64 rounded to float32.

    The runtimes' mathematics libraries come closer to that than torch's float32 functions do.
    """
    (source,) = operation.input_formats
    assert source is not None
    assert operation.operator is not None
    assert operation.output_format is not None
    values = dequantize(torch.arange(-128, 128), source)
    table = quantize(operation.operator(values.double()).float(), operation.output_format, operation.clamp)
    return table[inputs[0].to(torch.int64).add_(128)]


def dequantize(x: Tensor, source: TensorFormat) -> Tensor:
    """`(q - z) * s` in float32."""
    return x.float().sub_(source.zero_point).mul_(source.scale)


def quantize(x: Tensor, target: TensorFormat, clamp: tuple[int, int] | None = None) -> Tensor:
    """`rint(x / s) + z`, ties to even, clamped (to all integers of the format by default); int8 or int16."""
    scaled = torch.div(x, torch.tensor(target.scale, dtype=torch.float32))
    return (
        scaled.round_()
        .add_(target.zero_point)
        .clamp_(*(clamp or ends(target.bits)))
        .to(torch.int8 if target.bits == 8 else torch.int16)
    )


def _pair(operation: Operation, inputs: Sequence[Tensor], target: str | None) -> Tensor:
    a, b = (x.to(torch.int32).numpy() for x in inputs)
    first, second = (f for f in operation.input_formats if f is not None)
    assert operation.output_format is not None
    forms_of_kind = pairs.TARGETS[operation.kind]
    form = forms_of_kind.get(target, forms_of_kind[None])
    found = form(a, b, (first, second, operation.output_format))
    return _stored(found, operation)


def _mean(operation: Operation, inputs: Sequence[Tensor], target: str | None) -> Tensor:
    (x,) = inputs
    (source,) = operation.input_formats
    assert source is not None
    assert operation.output_format is not None
    sums = x.sum(tuple(range(2, x.dim())), dtype=torch.int32, keepdim=operation.settings.get("keep", True))
    form = mean.xnnpack if target == "tflite" else mean.onnx
    return _stored(form(sums.numpy(), source, operation.output_format, mean.places(tuple(x.shape))), operation)


def _stored(values: np.ndarray, operation: Operation) -> Tensor:
    return torch.from_numpy(values).clamp_(*operation.clamp).to(torch.int8)


TABLE: dict[tuple[str, str | None], Function] = {
    ("average_pool", None): pooling.onnx_average_pool,
    ("average_pool", "tflite"): pooling.tflite_average_pool,
    ("hard_swish", "tflite"): fixed_point.hard_swish,
    ("leaky_relu", "tflite"): fixed_point.leaky_relu,
    ("requantize", "tflite"): fixed_point.requantize,
    ("sigmoid", None): by_table,
    ("tanh", None): by_table,
    ("resize", None): resizing.onnx_linear,
    ("resize", "tflite"): resizing.tflite_linear,
}
"""What is not `in_float`; an entry for None holds for every target without its own."""
