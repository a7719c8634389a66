"""Clamps: as an operator's fused activation where that is exact, else as MAXIMUM and MINIMUM behind it."""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from studio.export._tflite.layout import Layout
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation, TensorFormat

FULL = (-128, 127)
_FUSED = {
    (0.0, math.inf): schema.ActivationFunctionType.RELU,
    (0.0, 6.0): schema.ActivationFunctionType.RELU6,
    (-1.0, 1.0): schema.ActivationFunctionType.RELU_N1_TO_1,
}
_ALONE = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6"}
"""Activations that run on int8 as operators of their own."""
_FLOAT = {**_ALONE, (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}


def integers(bounds: tuple[float, float], format: TensorFormat) -> tuple[int, int]:
    """Integers that XNNPACK clamps to for an activation's bounds: `rint(float32(bound / scale) + zero_point)`."""
    scale, zero_point = np.float32(format.scale), np.float32(format.zero_point)
    low, high = (int(np.clip(np.rint(np.float32(b) / scale + zero_point), *FULL)) for b in bounds)
    return low, high


def fused(operation: Operation) -> int | None:
    """Fused activation that clamps exactly as the operation does; None where there is none."""
    if operation.output_format is None or operation.clamp == FULL:
        return int(schema.ActivationFunctionType.NONE)
    for bounds, code in _FUSED.items():
        if integers(bounds, operation.output_format) == operation.clamp:
            return int(code)
    return None


def clamp(writer: Writer, operation: Operation, source: int, layout: Layout) -> None:
    """Write MAXIMUM and MINIMUM with the clamp's ends; the result is the operation's output."""
    target = operation.output_format
    assert target is not None
    steps = [
        (code, end)
        for code, end, whole in zip(("MAXIMUM", "MINIMUM"), operation.clamp, FULL, strict=True)
        if end != whole
    ]
    for number, (code, end) in enumerate(steps, 1):
        name = operation.output if number == len(steps) else f"{operation.output}:raised"
        output = writer.result(operation, writer.file.shape(source), name)
        limit = writer.file.constant(
            f"{operation.output}.{code.lower()}", np.array([end], np.int8),
            np.array([target.scale], np.float32), target.zero_point,
        )  # fmt: skip
        source = writer.file.operator(code, [source, limit], output, 2, "MaximumMinimumOptions")
    writer.put(operation.output, source, layout)


def rectify(writer: Writer, operation: Operation) -> None:
    """Write a ReLU or clip that stands alone; the integers of a full range pass as they are."""
    value = writer.values[operation.inputs[0]]
    if operation.output_format is None:
        _float(writer, operation)
    elif operation.clamp == FULL:
        writer.put(operation.output, value.index, value.layout)
    else:
        found = [c for b, c in _ALONE.items() if integers(b, operation.output_format) == operation.clamp]
        if found:
            output = writer.result(operation, writer.file.shape(value.index))
            writer.file.operator(found[0], [value.index], output, 2)
            writer.put(operation.output, output, value.layout)
        else:
            clamp(writer, operation, value.index, value.layout)


def _float(writer: Writer, operation: Operation) -> None:
    value, settings = writer.values[operation.inputs[0]], operation.settings
    low = settings.get("low", 0.0 if operation.kind == "relu" else None)
    high = settings.get("high")
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    shape, source = writer.file.shape(value.index), value.index
    if bounds in _FLOAT:
        source = writer.file.operator(_FLOAT[bounds], [source], writer.result(operation, shape))
    else:
        ends = [(c, b) for c, b in zip(("MAXIMUM", "MINIMUM"), bounds, strict=True) if math.isfinite(b)]
        for number, (code, end) in enumerate(ends, 1):
            name = operation.output if number == len(ends) else f"{operation.output}:raised"
            limit = writer.file.constant("", np.array([end], np.float32))
            output = writer.result(operation, shape, name)
            source = writer.file.operator(code, [source, limit], output, 1, "MaximumMinimumOptions")
    writer.put(operation.output, source, value.layout)
