"""Program -> .tflite: channels last, int8 in and out wherever an integer operation stands at the border."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.core.errors import Refused
from studio.export._tflite import activation, average, moving, pointwise, support, weighted, windows
from studio.export._tflite import layout as lay
from studio.export._tflite.layout import Axes, Layout
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation, Program

EMITTERS: dict[str, Callable[[Writer, Operation], None]] = {
    "conv": weighted.conv, "conv_transpose": weighted.conv_transpose, "linear": weighted.linear,
    "matmul": pointwise.matmul, "batch_norm": pointwise.batch_norm, "relu": activation.rectify,
    "clip": activation.rectify, "leaky_relu": pointwise.leaky_relu, "prelu": pointwise.prelu,
    "sigmoid": pointwise.unary, "tanh": pointwise.unary, "hard_swish": pointwise.unary,
    "hard_sigmoid": pointwise.hard_sigmoid, "softmax": pointwise.softmax, "add": pointwise.binary,
    "sub": pointwise.binary, "mul": pointwise.binary, "div": pointwise.binary, "max_pool": windows.max_pool,
    "average_pool": average.average_pool, "global_average_pool": windows.mean, "reduce_mean": windows.mean,
    "concat": moving.concat, "slice": moving.slice_, "pad": moving.pad, "reshape": moving.reshape,
    "transpose": moving.transpose, "resize": moving.resize, "gather": moving.gather, "expand": moving.expand,
    "quantize": pointwise.unary, "dequantize": pointwise.unary, "requantize": pointwise.unary,
}  # fmt: skip
_VIEWS = ("reshape", "transpose")
_THROUGH = ("quantize", "relu", "clip", "sigmoid", "tanh", "leaky_relu", "hard_swish")
_CHANNELS_LAST = ("conv", "conv_transpose", "max_pool", "average_pool", "global_average_pool", "resize", "batch_norm")
KINDS = frozenset({*EMITTERS, "constant"})


def write(program: Program, *, description: Mapping[str, Any] | None = None) -> bytes:
    """Return the file. `description`: kept small, stored as JSON beside what the runner needs.

    Raises Refused, naming the layer, where the format would need other numbers.
    """
    writer = Writer(program)
    inputs = [_input(writer, name) for name in program.inputs]
    for operation in program.operations:
        _operation(writer, operation)
    outputs = [_output(writer, name) for name in program.outputs]
    ends: list[int] = []
    for name in outputs:
        ends.append(_end(writer, name, [writer.values[i].index for i in inputs] + ends))
    starts = [writer.values[name].index for name in inputs]
    metadata = writer.metadata(description or {}, inputs, outputs)
    return writer.file.finish(starts, ends, f"{program.name}, Edge Compression Studio", metadata)


def _operation(writer: Writer, operation: Operation) -> None:
    if operation.output in writer.values or _unread(writer.program, operation):
        return
    if operation.kind == "constant":
        writer.constants[operation.output] = operation.constants["value"]
        return
    reason = support.refusal(operation, writer.program)
    if reason is not None:
        remedy = "Leave this format out, or change the network."
        raise Refused(reason, where=operation.nodes[0], remedy=remedy)
    EMITTERS[operation.kind](writer, operation)


def _unread(program: Program, operation: Operation) -> bool:
    """True for the dequantize of an output that nothing else reads: the file gives the integers."""
    readers = any(operation.output in op.inputs for op in program.operations)
    return operation.kind == "dequantize" and operation.output in program.outputs and not readers


def _input(writer: Writer, name: str) -> str:
    """Add a network input: int8 where all that reads it is its quantize. Returns the tensor's name in the program."""
    program = writer.program
    readers = [op for op in program.operations if name in op.inputs]
    integer = [op for op in readers if op.kind == "quantize"]
    tensor = integer[0].output if len(readers) == len(integer) == 1 else name
    shape = program.tensors[name].shape
    axes = _input_axes(program, name)
    index = writer.like(writer.format(tensor), lay.dimensions(shape, axes), name)
    writer.put(tensor, index, lay.of_axes(shape, axes))
    writer.places[name] = writer.values[tensor]
    return tensor


def _input_axes(program: Program, name: str) -> Axes:
    """Channels last, unless the first operator that cares finds its channels last without that."""
    shape = program.tensors[name].shape
    straight = tuple(range(len(shape)))
    usual = lay.channels_last(len(shape))
    found = {axes: _arrives_last(program, name, lay.of_axes(shape, axes)) for axes in (usual, straight)}
    if found[straight] and not found[usual]:
        return straight
    return usual if len(shape) == 4 or found[usual] else straight


def _arrives_last(program: Program, name: str, layout: Layout) -> bool:
    """True where views and pointwise operators lead to one that finds its channels last."""
    while True:
        operation = next((op for op in program.operations if name in op.inputs), None)
        if operation is None:
            return False
        shape = program.tensors[name].shape
        if operation.kind in _CHANNELS_LAST:
            return layout == lay.of_axes(shape, lay.channels_last(len(shape)))
        if operation.kind == "transpose":
            moved = lay.transposed(layout, shape, [axis % len(shape) for axis in operation.settings["order"]])
            if moved is None:
                return False
            layout = moved
        elif operation.kind not in (*_VIEWS, *_THROUGH):
            return False
        name = operation.output


def _output(writer: Writer, name: str) -> str:
    """Tensor of the program that the file gives for an output: its integers where there are any."""
    operation = writer.program.by_output.get(name)
    return operation.inputs[0] if operation is not None and operation.kind == "dequantize" else name


def _end(writer: Writer, name: str, taken: list[int]) -> int:
    """Index of an output: channels last for pictures, else in the program's order where it lies so."""
    shape = writer.shape(name)
    if name in writer.constants:
        return writer.take(name, tuple(range(len(shape))))
    value = writer.values[name]
    axes: Axes = tuple(range(len(shape)))
    between: Axes = (0, 2, 1)
    if len(shape) == 4 and (not value.layout.plain or value.layout == lay.of_axes(shape, lay.channels_last(4))):
        axes = lay.channels_last(4)
    elif len(shape) == 3 and value.layout == lay.of_axes(shape, between):
        axes = between
    index = writer.take(name, axes)
    if index in taken:
        index = writer.copied(name, index)
    writer.put(name, index, lay.of_axes(shape, axes))
    return index
