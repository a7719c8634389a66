"""A .tflite under construction: tensors, constants, operators, packed with the flatbuffer schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from studio.core.packing import pack_integers

ALIGNMENT = 16
"""The schema's `force_align` of buffers, which the generated Python code leaves out."""
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Builder that knows where it put zero points."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.zero_points: dict[bytes, Any] = {}


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """Buffer whose bytes start at a multiple of 16 in the file."""

    def Pack(self, builder: Any) -> Any:
        if self.data is None:
            return super().Pack(builder)
        content = self.data.tobytes()
        builder.StartVector(1, len(content), ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class _Quantization(schema.QuantizationParametersT):  # type: ignore[misc]
    """Scales and zero points; tables with the same zero points name one vector, which a flatbuffer allows."""

    def Pack(self, builder: Any) -> Any:
        known, key = builder.zero_points, self.zeroPoint.tobytes()
        if key not in known:
            known[key] = builder.CreateNumpyVector(self.zeroPoint)
        scale = builder.CreateNumpyVector(self.scale)
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scale)
        schema.QuantizationParametersAddZeroPoint(builder, known[key])
        schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
        return schema.QuantizationParametersEnd(builder)


class ModelFile:
    """Collects one subgraph; every method returns the index of the tensor that it makes."""

    def __init__(self, free_batch: bool) -> None:
        self.free_batch = free_batch
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers = [schema.BufferT()]  # the first one is empty: tensors without content name it
        self._codes: dict[tuple[str, int], int] = {}
        self._code_entries: list[Any] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self.names: set[str] = set()

    def tensor(self, name: str, shape: Sequence[int], format: tuple[float, int] | None) -> int:
        """Add a tensor that an operator writes: int8 with (scale, zero point), float32 where there is none."""
        kind = np.dtype(np.float32) if format is None else np.dtype(np.int8)
        scale = None if format is None else np.array([format[0]], np.float32)
        return self._add(name, shape, kind, 0, scale, 0 if format is None else format[1], 0)

    def copy_of(self, index: int, name: str, shape: Sequence[int]) -> int:
        """Add a tensor of the same type and quantization as another, in another shape."""
        source = self._graph.tensors[index]
        quantization = source.quantization
        pair = None if quantization is None else (quantization.scale[0], quantization.zeroPoint[0])
        return self.tensor(name, shape, pair)

    def constant(
        self, name: str, value: np.ndarray, scale: np.ndarray | None = None, zero_point: int = 0, axis: int = 0,
        four: bool = False,
    ) -> int:  # fmt: skip
        """Add a tensor with content; equal ones without a scale are stored once. `four`: INT4, two to a byte."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if scale is None and key in self._known:
            return self._known[key]
        buffer = _Buffer()
        buffer.data = np.ascontiguousarray(value)
        if four:
            buffer.data = np.frombuffer(pack_integers(value.reshape(-1), 4), np.uint8)
        self._buffers.append(buffer)
        index = self._add(name, value.shape, value.dtype, len(self._buffers) - 1, scale, zero_point, axis)
        if four:
            self._graph.tensors[index].type = schema.TensorType.INT4
        if scale is None:
            self._known[key] = index
        return index

    def integers(self, values: Sequence[int], shape: Sequence[int] | None = None) -> int:
        """Add a small int32 constant: axes, paddings, shapes."""
        array = np.array(values, np.int32)
        return self.constant("", array if shape is None else array.reshape(shape))

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor as it stands in the file."""
        return tuple(self._graph.tensors[index].shape)

    def name(self, index: int) -> str:
        """Name of a tensor."""
        found: str = self._graph.tensors[index].name
        return found

    def operator(
        self, code: str, inputs: Sequence[int], output: int, version: int = 1, options: str = "", **settings: Any
    ) -> int:
        """Add an operator; `options` names the schema's type of its settings. Returns `output`."""
        made = schema.OperatorT()
        made.opcodeIndex = self._code(code, version)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options:
            table = getattr(schema, f"{options}T")()
            for field, value in settings.items():
                if not hasattr(table, field):
                    raise AttributeError(f"{options} has no {field}")
                setattr(table, field, value)
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = table
        self._graph.operators.append(made)
        return output

    def finish(self, inputs: Sequence[int], outputs: Sequence[int], description: str, metadata: bytes) -> bytes:
        """Pack everything; `metadata` is stored under the name `studio`."""
        self._graph.inputs, self._graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        for index in {*inputs, *outputs} if self.free_batch else ():
            tensor = self._graph.tensors[index]
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
        entry, buffer = schema.MetadataT(), _Buffer()
        buffer.data = np.frombuffer(metadata, np.uint8)
        self._buffers.append(buffer)
        entry.name, entry.buffer = "studio", len(self._buffers) - 1
        model = schema.ModelT()
        model.version, model.description = 3, description
        model.operatorCodes, model.subgraphs = self._code_entries, [self._graph]
        model.buffers, model.metadata = self._buffers, [entry]
        builder = _Builder(sum(b.data.nbytes for b in self._buffers if b.data is not None) + 65536)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _code(self, name: str, version: int) -> int:
        if (name, version) not in self._codes:
            self._codes[name, version] = len(self._codes)
            entry = schema.OperatorCodeT()
            entry.builtinCode = getattr(schema.BuiltinOperator, name)
            # Old readers know the first 127 codes only, in a field of one byte.
            last = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
            entry.deprecatedBuiltinCode, entry.version = min(entry.builtinCode, last), version
            self._code_entries.append(entry)
        return self._codes[name, version]

    def _add(
        self, name: str, shape: Sequence[int], kind: np.dtype[Any], buffer: int, scale: np.ndarray | None,
        zero_point: int, axis: int,
    ) -> int:  # fmt: skip
        made = schema.TensorT()
        made.shape, made.type, made.name, made.buffer = np.array(shape, np.int32), _TYPES[kind], name, buffer
        if scale is not None:
            made.quantization = _Quantization()
            made.quantization.scale = scale.astype(np.float32)
            made.quantization.zeroPoint = np.full(len(scale), zero_point, np.int64)
            made.quantization.quantizedDimension = axis
        self.names.add(name)
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1
