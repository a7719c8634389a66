"""Walks a program and writes each operation; knows how every tensor lies in the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.export._tflite import layout as lay
from studio.export._tflite.layout import Axes, Layout, Shape
from studio.export._tflite.model_file import ModelFile
from studio.lowering.program import Operation, Program, TensorFormat

FIXED_BATCH = ("conv_transpose",)
"""Kinds whose operator holds the whole shape of its output: samples run singly then."""


@dataclass(frozen=True)
class Value:
    """A tensor of the program in the file: its index there, its shape in the program, how its values lie."""

    index: int
    shape: Shape
    layout: Layout


class Writer:
    """State of one file: emitters take inputs in the layout they need and put their output.

    A reshape or transpose of the program is a new view of the same tensor; values are moved only where
    an emitter asks for a layout that the tensor does not have.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.file = ModelFile(program.free_batch and not any(op.kind in FIXED_BATCH for op in program.operations))
        self.values: dict[str, Value] = {}
        self.constants: dict[str, np.ndarray] = {}  # of the program, laid out where they are used
        self._moved: dict[tuple[int, Layout, Layout, Shape], int] = {}
        self.places: dict[str, Value] = {}  # how tensors of the file lie that carry a name of the program

    def format(self, name: str) -> TensorFormat | None:
        """Format of a tensor of the program."""
        return self.program.tensors[name].format

    def shape(self, name: str) -> Shape:
        """Shape of a tensor in the program."""
        return self.program.tensors[name].shape

    def unused(self, name: str) -> str:
        """Return `name`, or where a tensor of the file has it already, the next one of `name:2` ... ."""
        found, number = name, 2
        while found in self.file.names:
            found, number = f"{name}:{number}", number + 1
        return found

    def put(self, name: str, index: int, layout: Layout) -> None:
        """Say which tensor of the file holds a tensor of the program."""
        self.values[name] = Value(index, self.shape(name), layout)
        if self.file.name(index) == name:
            self.places[name] = self.values[name]

    def result(self, operation: Operation, dimensions: Shape, name: str | None = None) -> int:
        """Add the file's tensor for an operation's output, or one of the same format beside it."""
        return self.like(operation.output_format, dimensions, name or operation.output)

    def like(self, format: TensorFormat | None, dimensions: Shape, name: str) -> int:
        """Add a tensor of that format and shape under a free name."""
        pair = None if format is None else (format.scale, format.zero_point)
        return self.file.tensor(self.unused(name), dimensions, pair)

    def emit(
        self, operation: Operation, code: str, inputs: list[int], axes: Axes, version: int = 1, options: str = "",
        **settings: Any,
    ) -> None:  # fmt: skip
        """Write one operator whose output is the operation's, with the program's axes in that order."""
        shape = self.shape(operation.output)
        output = self.result(operation, lay.dimensions(shape, axes))
        self.file.operator(code, inputs, output, version, options, **settings)
        self.put(operation.output, output, lay.of_axes(shape, axes))

    def axes(self, *names: str) -> Axes:
        """Order of axes in which tensors of one rank are joined: channels last, or the program's where they lie so."""
        shapes = [self.shape(name) for name in names if name in self.values]
        straight = tuple(range(max((len(shape) for shape in shapes), default=0)))
        if all(self.values[name].layout.plain for name in names if name in self.values):
            last = lay.channels_last(len(straight))
            same = all(lay.of_axes(shape, last).plain for shape in shapes if len(shape) == len(straight))
            return last if same else straight
        return lay.channels_last(len(straight))

    def take(self, name: str, axes: Axes, shape: Shape | None = None) -> int:
        """Index of a tensor with the program's axes in that order; moved where it lies otherwise.

        `shape`: of the tensor with leading axes of size 1 added, where it is broadcast to a higher rank.
        """
        shape = shape or self.shape(name)
        if name in self.constants:
            value = self.constants[name].reshape(shape)
            order = [axis for axis in axes if axis is not None]
            return self.file.constant(name, value.transpose(order).reshape(lay.dimensions(shape, axes)))
        return self.arranged(name, lay.of_axes(shape, axes), lay.dimensions(shape, axes))

    def arranged(self, name: str, wanted: Layout, dimensions: Shape) -> int:
        """Index of a tensor's values in a layout and shape of the file."""
        value = self.values[name]
        if value.layout == wanted and self.file.shape(value.index) == dimensions:
            return value.index
        key = (value.index, value.layout, wanted, dimensions)
        if key not in self._moved:
            self._moved[key] = self._move(name, value, wanted, dimensions)
            made = self._moved[key]
            if self.file.name(made) == name:
                self.places[name] = Value(made, value.shape, wanted)
        return self._moved[key]

    def _move(self, name: str, value: Value, wanted: Layout, dimensions: Shape) -> int:
        source, current = value.index, value.layout
        while current != wanted:
            direct = lay.move(current, wanted)
            step = wanted if direct else lay.plain(value.shape)
            found = direct or lay.move(current, step)
            assert found is not None  # everything can be moved to and from the program's own order
            source = self._transpose(name, source, *found, dimensions if step == wanted else ())
            current = step
        return self.reshape(name, source, dimensions)

    def _transpose(self, name: str, source: int, shape: Shape, order: Shape, dimensions: Shape) -> int:
        source = self.reshape(f"{name}:atoms", source, (1, *shape))
        axes = (0, *(axis + 1 for axis in order))
        moved = (1, *(shape[axis] for axis in order))
        output = self._same(name if moved == dimensions else f"{name}:moved", source, moved)
        version = (1 if self.format(name) is None else 2) if len(axes) <= 4 else 4
        return self.file.operator("TRANSPOSE", [source, self.file.integers(axes)], output, version, "TransposeOptions")

    def reshape(self, name: str, source: int, dimensions: Shape) -> int:
        """Same values in another shape; nothing where the tensor has it already."""
        if self.file.shape(source) == dimensions:
            return source
        return self._reshaped(source, self._same(name, source, dimensions))

    def _reshaped(self, source: int, output: int) -> int:
        free, dimensions = self.file.free_batch, self.file.shape(output)
        shape = np.array([-1 if free else dimensions[0], *dimensions[1:]], np.int32)
        return self.file.operator(
            "RESHAPE", [source, self.file.integers(shape.tolist())], output, 1, "ReshapeOptions", newShape=shape
        )

    def cut(self, source: int, begins: Shape, ends: Shape, name: str) -> int:
        """Part of a tensor of the file; the batch passes whole."""
        file, free = self.file, self.file.free_batch
        if all(begin == 0 for begin in begins) and ends[1:] == file.shape(source)[1:]:
            return source
        shape = tuple(end - begin for begin, end in zip(begins, ends, strict=True))
        inputs = [source, file.integers(begins), file.integers(ends), file.integers((1,) * len(begins))]
        return file.operator(
            "STRIDED_SLICE", inputs, self._same(name, source, shape), 2, "StridedSliceOptions",
            beginMask=int(free), endMask=int(free),
        )  # fmt: skip

    def copied(self, name: str, source: int) -> int:
        """Return the same values as a tensor of their own: no tensor is input or output twice."""
        return self._reshaped(source, self._same(name, source, self.file.shape(source)))

    def _same(self, name: str, source: int, dimensions: Shape) -> int:
        return self.file.copy_of(source, self.unused(name), dimensions)

    def metadata(self, description: Mapping[str, Any], inputs: list[str], outputs: list[str]) -> bytes:
        """JSON that says how tensors lie, and the caller's description; what the shape says already is left out.

        What the file has with four axes is channels last, anything else lies as in the program.
        """
        places = {name: entry for name, value in self.places.items() if (entry := self._odd(value)) is not None}
        content = {
            "inputs": [self._border(name) for name in inputs],
            "outputs": [self._border(name) for name in outputs],
            "layouts": places,
            "free_batch": self.file.free_batch,
            **description,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    def _odd(self, value: Value) -> list[Any] | None:
        """Shape, atoms and order of a tensor that does not lie as its shape in the file says."""
        shape, dimensions = value.shape, self.file.shape(value.index)
        axes = lay.channels_last(4) if len(shape) == 4 else tuple(range(len(shape)))
        if dimensions == lay.dimensions(shape, axes) and value.layout == lay.of_axes(shape, axes):
            return None
        return [shape, value.layout.atoms, value.layout.order]

    def _border(self, name: str) -> list[Any]:
        value = self.values[name]
        return [name, value.shape, value.layout.atoms, value.layout.order]
