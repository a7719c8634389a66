"""Operators that move, choose or repeat values."""

from __future__ import annotations

import numpy as np
import torch

from studio.export._tflite import layout as lay
from studio.export._tflite.windows import surround
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation


def reshape(writer: Writer, operation: Operation) -> None:
    """Return another view of the same tensor; values move only where a later operator needs them otherwise."""
    value = writer.values[operation.inputs[0]]
    writer.put(operation.output, value.index, value.layout)


def transpose(writer: Writer, operation: Operation) -> None:
    """Return another view too; a reshape that crosses axes is put in the program's order before."""
    name = operation.inputs[0]
    value, shape = writer.values[name], writer.shape(name)
    order = [axis % len(shape) for axis in operation.settings["order"]]
    layout = lay.transposed(value.layout, shape, order)
    index = value.index
    if layout is None:
        index = writer.arranged(name, lay.plain(shape), shape)
        layout = lay.transposed(lay.plain(shape), shape, order)
    assert layout is not None
    writer.put(operation.output, index, layout)


def concat(writer: Writer, operation: Operation) -> None:
    """CONCATENATION along the axis where the file has it."""
    axes = writer.axes(*operation.inputs)
    rank = len(writer.shape(operation.output))
    inputs = [writer.take(name, axes) for name in operation.inputs]
    axis = axes.index(operation.settings["axis"] % rank)
    version = 1 if operation.output_format is None else 2
    writer.emit(operation, "CONCATENATION", inputs, axes, version, "ConcatenationOptions", axis=axis)


def slice_(writer: Writer, operation: Operation) -> None:
    """STRIDED_SLICE, through which the batch passes whole; SLICE where the batch is 1 for ever and steps are 1."""
    name = operation.inputs[0]
    shape, axes = writer.shape(name), writer.axes(name)
    parts = [(0, 1)] * len(shape)
    settings = operation.settings
    for axis, start, end, step in zip(
        settings["axes"], settings["starts"], settings["ends"], settings["steps"], strict=True
    ):
        place = axis % len(shape)
        first = range(shape[place])[slice(start, None if step < 0 and end < 0 else end, step)]
        parts[place] = (first.start, step)
    result = writer.shape(operation.output)
    free = writer.file.free_batch
    begins = [0 if axis is None else parts[axis][0] for axis in axes]
    sizes = [1 if axis is None else result[axis] for axis in axes]
    steps = [1 if axis is None else parts[axis][1] for axis in axes]
    source, file = writer.take(name, axes), writer.file
    version = 1 if operation.output_format is None else 2
    if all(step == 1 for step in steps) and not free:  # LiteRT's SLICE cannot be resized to another batch
        inputs = [source, file.integers(begins), file.integers(sizes)]
        writer.emit(operation, "SLICE", inputs, axes, version, "SliceOptions")
        return
    whole = sum(1 << i for i, axis in enumerate(axes) if axis is None or (axis == 0 and free))
    open_end = whole | sum(1 << i for i, step in enumerate(steps) if begins[i] + sizes[i] * step < 0)
    ends = [0 if open_end >> i & 1 else begins[i] + sizes[i] * steps[i] for i in range(len(axes))]
    inputs = [source, file.integers(begins), file.integers(ends), file.integers(steps)]
    writer.emit(
        operation, "STRIDED_SLICE", inputs, axes, version, "StridedSliceOptions", beginMask=whole, endMask=open_end
    )


def pad(writer: Writer, operation: Operation) -> None:
    """PAD, PADV2 for another value than zero, MIRROR_PAD for mirrored edges."""
    name, settings = operation.inputs[0], operation.settings
    shape, axes = writer.shape(name), writer.axes(name)
    pads = settings["pads"]
    pairs = [(0, 0) if axis is None else (pads[axis], pads[len(shape) + axis]) for axis in axes]
    source = writer.take(name, axes)
    if settings["mode"] == "constant":
        value = settings["value"] or None
        output = surround(writer, source, operation.output_format, pairs, writer.unused(operation.output), value)
        writer.put(operation.output, output, lay.of_axes(writer.shape(operation.output), axes))
        return
    amounts = writer.file.integers([n for pair in pairs for n in pair], (len(pairs), 2))
    mirror = {"reflect": 0, "edge": 1}[settings["mode"]]  # an edge of one value is a symmetric mirror
    version = 1 if operation.output_format is None else 2
    writer.emit(operation, "MIRROR_PAD", [source, amounts], axes, version, "MirrorPadOptions", mode=mirror)


def resize(writer: Writer, operation: Operation) -> None:
    """RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR, or GATHER where nearest rounds in another way."""
    name, settings = operation.inputs[0], operation.settings
    shape, result = writer.shape(name), writer.shape(operation.output)
    axes = lay.channels_last(len(shape))
    flags = linear_flags(operation) if settings["mode"] == "linear" else nearest_flags(operation, shape, result)
    if flags is None:
        _gather_places(writer, operation, axes)
        return
    code = "RESIZE_BILINEAR" if settings["mode"] == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    size = writer.file.integers((1, *result[2:])[-2:])
    version = 3 if flags[1] else 1 if operation.output_format is None else 2
    options = "ResizeBilinearOptions" if settings["mode"] == "linear" else "ResizeNearestNeighborOptions"
    writer.emit(
        operation, code, [writer.take(name, axes), size], axes, version, options,
        alignCorners=flags[0], halfPixelCenters=flags[1],
    )  # fmt: skip


def linear_flags(operation: Operation) -> tuple[bool, bool] | None:
    """Flags align_corners and half_pixel_centers of a linear resize; None for coordinates that LiteRT has not."""
    settings = operation.settings
    if settings["coordinates"] == "pytorch_half_pixel" and 1 in settings["size"]:
        return None
    return {
        "align_corners": (True, False), "half_pixel": (False, True), "pytorch_half_pixel": (False, True),
        "asymmetric": (False, False),
    }.get(settings["coordinates"])  # fmt: skip


def nearest_flags(operation: Operation, shape: lay.Shape, result: lay.Shape) -> tuple[bool, bool] | None:
    """Flags with which LiteRT takes the very values that the program takes; None where no flags do."""
    sizes = list(zip(shape[2:], result[2:], strict=True))
    wanted = [taken(operation, shape, axis) for axis in range(len(sizes))]
    for flags in ((False, False), (False, True), (True, False)):
        if all(np.array_equal(_nearest(*size, *flags), w) for size, w in zip(sizes, wanted, strict=True)):
            return flags
    return None


def _nearest(before: int, after: int, corners: bool, half: bool) -> np.ndarray:
    """Places that LiteRT reads, computed in float32 as its kernel does."""
    between = corners and after > 1
    scale = np.float32(before - 1) / np.float32(after - 1) if between else np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    # std::round: halves away from zero; `at` is never negative here.
    places: np.ndarray = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
    found: np.ndarray = np.clip(places, 0, before - 1).astype(np.int64)
    return found


def taken(operation: Operation, shape: lay.Shape, axis: int) -> np.ndarray:
    """Places along one spatial axis from which a nearest resize takes its values: the operator run on places."""
    assert operation.operator is not None
    count = shape[2 + axis]
    along = [count if i == axis else 1 for i in range(len(shape) - 2)]
    places = torch.arange(count, dtype=torch.float32).reshape(1, 1, *along)
    found = operation.operator(places.expand(1, 1, *shape[2:])).movedim(2 + axis, 0)
    indices: np.ndarray = found.reshape(len(found), -1)[:, 0].long().numpy()
    return indices


def _gather_places(writer: Writer, operation: Operation, axes: lay.Axes) -> None:
    name = operation.inputs[0]
    source, result = writer.take(name, axes), writer.shape(operation.output)
    dimensions = list(writer.file.shape(source))
    steps = range(len(result) - 2)
    for number in steps:
        place = axes.index(2 + number)
        indices = taken(operation, writer.shape(name), number)
        dimensions[place] = len(indices)
        label = operation.output if number == steps[-1] else f"{operation.output}:part"
        source = _gather(writer, operation, source, place, indices, tuple(dimensions), label)
    writer.put(operation.output, source, lay.of_axes(result, axes))


def gather(writer: Writer, operation: Operation) -> None:
    """GATHER along one axis; indices of another rank than 1 give a view of the result."""
    name, indices = operation.inputs[0], operation.constants["indices"]
    shape, axes = writer.shape(name), writer.axes(name)
    axis = operation.settings["axis"] % len(shape)
    flat = indices.reshape(-1) % shape[axis]
    middle = (*shape[:axis], len(flat), *shape[axis + 1 :])
    source = writer.take(name, axes)
    output = _gather(writer, operation, source, axes.index(axis), flat, lay.dimensions(middle, axes), operation.output)
    writer.put(operation.output, output, lay.of_axes(middle, axes))


def _gather(
    writer: Writer, operation: Operation, source: int, place: int, indices: np.ndarray, dimensions: lay.Shape, name: str
) -> int:  # fmt: skip
    output = writer.result(operation, dimensions, name)
    version = 1 if operation.output_format is None else 2
    return writer.file.operator(
        "GATHER", [source, writer.file.integers(indices.tolist())], output, version, "GatherOptions", axis=place
    )


def expand(writer: Writer, operation: Operation) -> None:
    """TILE along the axes of size 1."""
    name, result = operation.inputs[0], writer.shape(operation.output)
    shape = writer.shape(name)
    shape = (1,) * (len(result) - len(shape)) + shape
    axes = lay.channels_last(len(result))
    times = [1 if axis is None else result[axis] // shape[axis] for axis in axes]
    writer.emit(operation, "TILE", [writer.take(name, axes, shape), writer.file.integers(times)], axes)
