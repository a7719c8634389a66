"""Operators with windows: where they pad as SAME or VALID do, and where values must be put around first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from studio.export._tflite import layout as lay
from studio.export._tflite.layout import Shape
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation, TensorFormat

SAME, VALID = int(schema.Padding.SAME), int(schema.Padding.VALID)
LOWEST = np.float32(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Geometry:
    """Windows over two spatial axes. `around`: values to put before and behind each axis first."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    code: int  # SAME or VALID
    around: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @property
    def explicit(self) -> bool:
        """True where values must be put around the input."""
        return any(any(pair) for pair in self.around)


def geometry(operation: Operation, source: Shape, result: Shape) -> Geometry:
    """Windows of a convolution or pooling; one spatial axis becomes two, the first of size 1.

    source, result: shapes in the program, (1, C, h, w) or (1, C, w).
    """
    settings, rank = operation.settings, len(source) - 2
    weight = operation.weight if operation.weights is None else operation.weights.q
    kernel = tuple(settings["kernel"]) if weight is None else weight.shape[2:]
    stride, dilation = tuple(settings["stride"]), tuple(settings.get("dilation", (1,) * rank))
    pairs = [
        _pads(source[2 + i], result[2 + i], dilation[i] * (kernel[i] - 1) + 1, stride[i], settings["pads"][i])
        for i in range(rank)
    ]
    first = (1,) * (2 - rank)
    shape = ((*first, *kernel), (*first, *stride), (*first, *dilation))
    if all(not any(pair) for pair, _ in pairs):
        return Geometry(*shape, VALID)
    if all(pair == same for pair, same in pairs):
        return Geometry(*shape, SAME)
    around = [(0, 0)] * (2 - rank) + [pair for pair, _ in pairs]
    return Geometry(*shape, VALID, (around[0], around[1]))


def _pads(size: int, places: int, reach: int, stride: int, begin: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what one axis needs before and behind, and what SAME would put there.

    What no window reaches is not padded, so that a last pad may vanish.
    """
    needed = max(0, (places - 1) * stride + reach - size - begin)
    total = max(0, (places - 1) * stride + reach - size)
    same = (total // 2, total - total // 2) if places == -(-size // stride) else (-1, -1)
    return (begin, needed), same


def pad(writer: Writer, operation: Operation, source: int, place: Geometry) -> int:
    """Put zeros (an integer tensor's zero point) around a channels-last tensor where the windows need them."""
    if not place.explicit:
        return source
    return surround(writer, source, operation.input_formats[0], (0, *place.around, 0), f"{operation.output}:padded")


def surround(
    writer: Writer, source: int, format: TensorFormat | None, pairs: Sequence[tuple[int, int] | int], name: str,
    fill: float | None = None,
) -> int:  # fmt: skip
    """PAD with zeros, or PADV2 with the stored value `fill`; `pairs` over the file's axes, 0 = nothing."""
    table = [(0, 0) if isinstance(pair, int) else pair for pair in pairs]
    shape = tuple(n + sum(pair) for n, pair in zip(writer.file.shape(source), table, strict=True))
    output = writer.like(format, shape, name)
    amounts = writer.file.integers([n for pair in table for n in pair], (len(table), 2))
    version = 1 if format is None else 2
    if fill is None:
        return writer.file.operator("PAD", [source, amounts], output, version, "PadOptions")
    if format is None:
        value = writer.file.constant("", np.array([fill], np.float32))
    else:
        scale = np.array([format.scale], np.float32)
        value = writer.file.constant(f"{name}.value", np.array([fill], np.int8), scale, format.zero_point)
    return writer.file.operator("PADV2", [source, amounts, value], output, version, "PadV2Options")


def max_pool(writer: Writer, operation: Operation) -> None:
    """MAX_POOL_2D; what is put around is the smallest value there is."""
    shape = writer.shape(operation.inputs[0])
    axes = lay.channels_last(len(shape))
    place = geometry(operation, shape, writer.shape(operation.output))
    source = writer.take(operation.inputs[0], axes)
    if place.explicit:
        stored = operation.input_formats[0]
        lowest = float(LOWEST) if stored is None else -128.0
        zeros_do = stored is not None and stored.zero_point == -128
        pairs = (0, *place.around, 0)
        name = f"{operation.output}:padded"
        source = surround(writer, source, stored, pairs, name, None if zeros_do else lowest)
    pool(writer, operation, "MAX_POOL_2D", source, place, axes)


def pool(writer: Writer, operation: Operation, code: str, source: int, place: Geometry, axes: lay.Axes) -> None:
    """Write a pooling operator whose output is the operation's."""
    integer = operation.output_format is not None
    writer.emit(
        operation, code, [source], axes, 2 if integer else 1, "Pool2DOptions", padding=place.code,
        strideH=place.stride[0], strideW=place.stride[1],
        filterHeight=place.kernel[0], filterWidth=place.kernel[1],
    )  # fmt: skip


def mean(writer: Writer, operation: Operation) -> None:
    """MEAN over all places (global pooling) or over the axes of a reduce_mean."""
    name = operation.inputs[0]
    shape, result = writer.shape(name), writer.shape(operation.output)
    axes = writer.axes(name)
    over = {a % len(shape) for a in operation.settings["axes"]} if _reduces(operation) else set(range(2, len(shape)))
    places = [i for i, axis in enumerate(axes) if axis in over or (axis is None and len(result) < len(shape))]
    keep = len(result) == len(shape)
    kept: lay.Axes = axes if keep else _without(axes, over)
    source = writer.take(name, axes)
    version = 1 if operation.output_format is None else 2
    writer.emit(
        operation, "MEAN", [source, writer.file.integers(places)], kept, version, "ReducerOptions", keepDims=keep
    )


def _reduces(operation: Operation) -> bool:
    return "axes" in operation.settings


def _without(axes: lay.Axes, over: set[int]) -> lay.Axes:
    """Order of the axes that are left, numbered anew: (0, 2, 3, 1) without 2, 3 -> (0, 1)."""
    left = [axis for axis in axes if axis is not None and axis not in over]
    rank = {axis: i for i, axis in enumerate(sorted(left))}
    return tuple(rank[axis] for axis in left)
