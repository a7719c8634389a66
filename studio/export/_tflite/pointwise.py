"""Operators on single values, sums and products of tensors, and conversions between integers and floats."""

from __future__ import annotations

import numpy as np

from studio.export._tflite import activation
from studio.export._tflite import layout as lay
from studio.export._tflite.layout import Axes, Shape
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation

_UNARY = {
    "sigmoid": ("LOGISTIC", ""), "tanh": ("TANH", ""), "hard_swish": ("HARD_SWISH", "HardSwishOptions"),
    "quantize": ("QUANTIZE", "QuantizeOptions"), "requantize": ("QUANTIZE", "QuantizeOptions"),
    "dequantize": ("DEQUANTIZE", "DequantizeOptions"),
}  # fmt: skip
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}


def unary(writer: Writer, operation: Operation) -> None:
    """Write an operator that takes values as they lie."""
    code, options = _UNARY[operation.kind]
    version = 1 if operation.input_formats[0] is None or operation.kind == "hard_swish" else 2
    _through(writer, operation, code, version, options)


def leaky_relu(writer: Writer, operation: Operation) -> None:
    """Write LEAKY_RELU."""
    _through(writer, operation, "LEAKY_RELU", 1, "LeakyReluOptions", alpha=float(operation.settings["slope"]))


def _through(writer: Writer, operation: Operation, code: str, version: int, options: str, **settings: float) -> None:
    value = writer.values[operation.inputs[0]]
    output = writer.result(operation, writer.file.shape(value.index))
    writer.file.operator(code, [value.index], output, version, options, **settings)
    writer.put(operation.output, output, value.layout)


def binary(writer: Writer, operation: Operation) -> None:
    """ADD, SUB, MUL or DIV of two tensors, broadcast as in numpy, with its clamp."""
    title = _BINARY[operation.kind]
    inputs, layout, dimensions = _operands(writer, operation)
    if operation.kind == "mul" and inputs[0] == inputs[1]:
        # XNNPACK runs a tensor times itself as a square, which rounds otherwise.
        inputs[1] = writer.copied(f"{operation.output}:again", inputs[1])
    found = activation.fused(operation)
    name = operation.output if found is not None else f"{operation.output}:unclamped"
    output = writer.result(operation, dimensions, name)
    version = 1 if operation.output_format is None else 2
    writer.file.operator(title.upper(), inputs, output, version, f"{title}Options", fusedActivationFunction=found or 0)
    if found is None:
        activation.clamp(writer, operation, output, layout)
    else:
        writer.put(operation.output, output, layout)


def _operands(writer: Writer, operation: Operation) -> tuple[list[int], lay.Layout, Shape]:
    """Both inputs in one layout, and the layout and file shape of the result."""
    names, result = operation.inputs, writer.shape(operation.output)
    known = [writer.values[name] for name in names if name in writer.values]
    if len(known) == len(names) and len({(v.shape, v.layout) for v in known}) == 1:
        dimensions = writer.file.shape(known[0].index)
        return [writer.arranged(name, known[0].layout, dimensions) for name in names], known[0].layout, dimensions
    axes = writer.axes(*names)
    shapes = [(1,) * (len(result) - len(writer.shape(name))) + writer.shape(name) for name in names]
    inputs = [writer.take(name, axes, shape) for name, shape in zip(names, shapes, strict=True)]
    return inputs, lay.of_axes(result, axes), lay.dimensions(result, axes)


def softmax(writer: Writer, operation: Operation) -> None:
    """SOFTMAX over the file's last axis."""
    name = operation.inputs[0]
    rank = len(writer.shape(name))
    axis = operation.settings["axis"] % rank
    version = 1 if operation.output_format is None else 2
    axes = last(axis, rank)
    writer.emit(operation, "SOFTMAX", [writer.take(name, axes)], axes, version, "SoftmaxOptions", beta=1.0)


def last(axis: int, rank: int) -> Axes:
    """Order of axes with one of them last: the file's usual order where that has it so."""
    usual = lay.channels_last(rank)
    return usual if usual[-1] == axis else (*(a for a in range(rank) if a != axis), axis)


def prelu(writer: Writer, operation: Operation) -> None:
    """PRELU; its slopes lie along the channels."""
    name, slope = operation.inputs[0], operation.constants["slope"]
    rank = len(writer.shape(name))
    axes = lay.channels_last(rank)
    values = _sample(slope, rank, axes)
    alpha = writer.file.constant(f"{operation.output}.slope", np.ascontiguousarray(values[0]))
    writer.emit(operation, "PRELU", [writer.take(name, axes), alpha], axes)


def _sample(value: np.ndarray, rank: int, axes: Axes) -> np.ndarray:
    """Constant of a sample (C, 1, 1) in the file's order with a leading 1: (1, 1, 1, C)."""
    shape = (1,) * (rank - value.ndim) + value.shape
    order = [axis for axis in axes if axis is not None]
    return value.reshape(shape).transpose(order).reshape(lay.dimensions(shape, axes))


def hard_sigmoid(writer: Writer, operation: Operation) -> None:
    """`min(max(alpha * x + beta, 0), 1)` as MUL, ADD and RELU_0_TO_1."""
    value, settings = writer.values[operation.inputs[0]], operation.settings
    source = _affine(
        writer, operation, value.index, np.asarray(settings["alpha"]), np.asarray(settings["beta"]), ":sum"
    )
    output = writer.result(operation, writer.file.shape(source))
    writer.put(operation.output, writer.file.operator("RELU_0_TO_1", [source], output), value.layout)


def batch_norm(writer: Writer, operation: Operation) -> None:
    """`x * a + b` per channel."""
    name, c = operation.inputs[0], operation.constants
    rank = len(writer.shape(name))
    axes = lay.channels_last(rank)
    factor = c["scale"].astype(np.float64) / np.sqrt(c["var"].astype(np.float64) + operation.settings["eps"])
    offset = c["shift"] - c["mean"] * factor
    shape = (-1, *(1,) * (rank - 2))
    a, b = (_sample(v.astype(np.float32).reshape(shape), rank, axes) for v in (factor, offset))
    output = _affine(writer, operation, writer.take(name, axes), a, b, "")
    writer.put(operation.output, output, lay.of_axes(writer.shape(operation.output), axes))


def _affine(
    writer: Writer, operation: Operation, source: int, factor: np.ndarray, offset: np.ndarray, ending: str
) -> int:  # fmt: skip
    file, shape = writer.file, writer.file.shape(source)
    for code, title, value, name in (("MUL", "Mul", factor, ":product"), ("ADD", "Add", offset, ending)):
        constant = file.constant("", np.asarray(value, np.float32).reshape(np.shape(value) or (1,)))
        output = writer.result(operation, shape, f"{operation.output}{name}")
        source = file.operator(code, [source, constant], output, 1, f"{title}Options", fusedActivationFunction=0)
    return source


def matmul(writer: Writer, operation: Operation) -> None:
    """BATCH_MATMUL over the last two axes of the program."""
    straight = [tuple(range(len(writer.shape(name)))) for name in operation.inputs]
    inputs = [writer.take(name, axes) for name, axes in zip(operation.inputs, straight, strict=True)]
    axes = tuple(range(len(writer.shape(operation.output))))
    writer.emit(operation, "BATCH_MATMUL", inputs, axes, 1, "BatchMatMulOptions", adjX=False, adjY=False)
