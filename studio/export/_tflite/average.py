"""Average pooling: as one operator where LiteRT counts as the network does, else in parts.

LiteRT leaves padding out of a mean where its padding is SAME, and has no other way. A part is a
block of windows that lie inside the input or are cut off alike, so that plain windows do.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from studio.export._tflite import layout as lay
from studio.export._tflite.layout import Shape
from studio.export._tflite.windows import SAME, VALID, geometry, pool, surround
from studio.export._tflite.writer import Writer
from studio.lowering.program import Operation


@dataclass(frozen=True)
class Run:
    """Neighbouring windows along one axis that are equally long: the first one's place, their number."""

    start: int
    length: int
    count: int

    def end(self, size: int, stride: int) -> int:
        """Place behind the last window; the axis' end where no further window would fit before it."""
        needed = self.start + (self.count - 1) * stride + self.length
        return size if size < needed + stride else needed


def average_pool(writer: Writer, operation: Operation) -> None:
    """AVERAGE_POOL_2D, or several joined by CONCATENATION."""
    shape, result = writer.shape(operation.inputs[0]), writer.shape(operation.output)
    axes = lay.channels_last(len(shape))
    source, settings = writer.take(operation.inputs[0], axes), operation.settings
    place = geometry(operation, shape, result)
    whole = place.code == VALID and not place.explicit
    if whole or (place.code == SAME and not settings["count_pads"]):
        pool(writer, operation, "AVERAGE_POOL_2D", source, place, axes)
        return
    rank = len(shape) - 2
    begins, ends = settings["pads"][:rank], settings["pads"][rank:]
    if settings["count_pads"] and any(settings["pads"]):
        around = [(0, 0)] * (2 - rank) + list(zip(begins, ends, strict=True))
        pairs = (0, *around, 0)
        source = surround(writer, source, operation.input_formats[0], pairs, f"{operation.output}:padded")
        begins = (0,) * rank
    sizes = writer.file.shape(source)[3 - rank : 3]
    runs = [
        _runs(sizes[i], result[2 + i], settings["kernel"][i], settings["stride"][i], begins[i]) for i in range(rank)
    ]
    first = [[Run(0, 1, 1)]] * (2 - rank)
    rows, columns = (*first, *runs)
    output = _parts(writer, operation, source, rows, columns, (place.stride[0], place.stride[1]))
    writer.put(operation.output, output, lay.of_axes(result, axes))


def _runs(size: int, places: int, kernel: int, stride: int, begin: int) -> list[Run]:
    """Windows of one axis cut off at its ends, in runs: 6 values, 3 windows of 3 by 2, 1 pad -> lengths 2, 3, 3."""
    windows = []
    for i in range(places):
        start = i * stride - begin
        windows.append((max(start, 0), min(start + kernel, size) - max(start, 0)))
    found: list[Run] = []
    for start, length in windows:
        last = found[-1] if found else None
        if last and last.length == length and start == last.start + last.count * stride:
            found[-1] = Run(last.start, length, last.count + 1)
        else:
            found.append(Run(start, length, 1))
    return found


def _parts(
    writer: Writer, operation: Operation, source: int, rows: list[Run], columns: list[Run], stride: tuple[int, int]
) -> int:
    numbers = itertools.count(1)
    total = (sum(row.count for row in rows), sum(column.count for column in columns))
    bands = []
    for row in rows:
        blocks = [_block(writer, operation, source, row, column, stride, total, next(numbers)) for column in columns]
        whole = operation.output if len(rows) == 1 else f"{operation.output}:band"
        bands.append(_joined(writer, operation, blocks, 2, whole))
    return _joined(writer, operation, bands, 1, operation.output)


def _block(
    writer: Writer, operation: Operation, source: int, row: Run, column: Run, stride: tuple[int, int],
    total: tuple[int, int], number: int,
) -> int:  # fmt: skip
    _, height, width, channels = writer.file.shape(source)
    begins = (0, row.start, column.start, 0)
    ends = (1, row.end(height, stride[0]), column.end(width, stride[1]), channels)
    cut = writer.cut(source, begins, ends, f"{operation.output}:cut{number}")
    shape: Shape = (1, row.count, column.count, channels)
    name = operation.output if shape[1:3] == total else f"{operation.output}:part{number}"
    return writer.file.operator(
        "AVERAGE_POOL_2D", [cut], writer.result(operation, shape, name),
        1 if operation.output_format is None else 2, "Pool2DOptions", padding=VALID,
        strideH=stride[0], strideW=stride[1], filterHeight=row.length, filterWidth=column.length,
    )  # fmt: skip


def _joined(writer: Writer, operation: Operation, parts: list[int], axis: int, name: str) -> int:
    if len(parts) == 1:
        return parts[0]
    shape = list(writer.file.shape(parts[0]))
    shape[axis] = sum(writer.file.shape(part)[axis] for part in parts)
    version = 1 if operation.output_format is None else 2
    output = writer.result(operation, tuple(shape), name)
    return writer.file.operator("CONCATENATION", parts, output, version, "ConcatenationOptions", axis=axis)
