"""An ONNX file from a stranger: checked fully before anything is built. Nothing in it is executed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from studio.core.errors import ModelError

OPSETS = range(7, 23)
IRS = range(3, onnx.IR_VERSION + 1)
QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
    "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QAttention", "QGemm",
}  # fmt: skip
CONTROL = ("If", "Loop", "Scan")
SUPPORTED = {
    "Add", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
    "ConvTranspose", "Div", "Dropout", "Equal", "Expand", "Flatten", "Floor", "Gather", "Gemm", "GlobalAveragePool",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Neg", "PRelu", "Pad", "Pow",
    "Range", "ReduceMean", "ReduceProd", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Size", "Slice", "Softmax",
    "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Upsample", "Where",
}  # fmt: skip
"""What can be converted, or folded where all its inputs are constants; known here without torch."""
LARGEST_FILE = (2 << 30) - 1
"""Bytes of a file that its format can hold."""
LARGEST = 4 << 30
"""Bytes of one tensor that are still read."""
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
INTEGERS = (
    TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
)  # fmt: skip
"""Of shapes, places and axes."""


def load(path: Path) -> ModelProto:
    """Parse and check a model file; raises ModelError that names file, place and remedy."""
    model = ModelProto()
    if path.stat().st_size > LARGEST_FILE:
        remedy = "Save its weights as external data beside it."
        raise ModelError("is larger than 2 GiB, which ONNX cannot hold.", where=str(path), remedy=remedy)
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError):
        raise ModelError(
            "is damaged or no ONNX file.", where=str(path), remedy="Export or download it again."
        ) from None
    if not model.graph.node or not model.graph.output:
        remedy = "It may be truncated: export or download it again."
        raise ModelError("holds no network.", where=str(path), remedy=remedy)
    if not all(isinstance(text, str) and text.isprintable() for text in _names(model)):
        what = "is damaged: a name in it is no text."
        raise ModelError(what, where=str(path), remedy="Export or download it again.")
    _check_versions(model, path)
    _check_operators(model.graph, path)
    _check_edges(model.graph, path)
    return model


def _names(model: ModelProto) -> Iterator[str | bytes]:
    """All names in a model; those that are no UTF-8 come as bytes."""
    graph = model.graph
    yield from (entry.domain for entry in model.opset_import)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from (value.name for value in (*graph.input, *graph.output))


def _check_versions(model: ModelProto, path: Path) -> None:
    if model.ir_version not in IRS:
        remedy = f"Export it with an IR version from {IRS[0]} to {IRS[-1]}."
        raise ModelError(f"has IR version {model.ir_version}.", where=str(path), remedy=remedy)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version not in OPSETS:
            remedy = f"Export it with an opset from {OPSETS[0]} to {OPSETS[-1]}."
            raise ModelError(f"uses opset {entry.version}.", where=str(path), remedy=remedy)


def opset(model: ModelProto) -> int:
    """Version of the standard operators; files without one are as old as opset 7."""
    return max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=OPSETS[0])


def _check_operators(graph: GraphProto, path: Path) -> None:
    for node in graph.node:
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            remedy = "Open the float model that it was made from; quantized files cannot be read yet."
            raise ModelError("the file is already quantized.", where=str(path), remedy=remedy)
    for i, node in enumerate(graph.node):
        place = f"{path}: node '{node.name or node.output[0] if node.output else i}'"
        if not node.output:
            raise ModelError("has no output.", where=place, remedy="The file is damaged: export it again.")
        if node.domain not in ("", "ai.onnx"):
            what = f"{node.domain} has a custom operator {node.op_type}."
            raise ModelError(what, where=place, remedy="Export with standard operators only.")
        if node.op_type not in SUPPORTED:
            remedy = "Export the network with simpler operators."
            if node.op_type in CONTROL:
                remedy = "Export the network without control flow (a fixed path)."
            raise ModelError(f"the operator {node.op_type} is not supported.", where=place, remedy=remedy)


def _check_edges(graph: GraphProto, path: Path) -> None:
    known = {t.name for t in graph.initializer} | {i.name for i in graph.input} | {""}
    known |= {t.values.name for t in graph.sparse_initializer}
    written = {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                circle = name in written
                what = f"reads '{name}' " + ("before it is computed (a cycle)." if circle else "that nothing computes.")
                place = f"{path}: node '{node.name or node.output[0]}'"
                raise ModelError(what, where=place, remedy="The file is damaged: export it again.")
        again = [name for name in node.output if name and name in known]
        if again:
            what = f"writes '{again[0]}', which is there already."
            place = f"{path}: node '{node.name or node.output[0]}'"
            raise ModelError(what, where=place, remedy="The file is damaged: export it again.")
        known.update(node.output)
    for output in graph.output:
        if output.name not in known:
            what = f"the output '{output.name}' is computed by no node."
            raise ModelError(what, where=str(path), remedy="The file is damaged: export it again.")


def initializers(graph: GraphProto, path: Path) -> dict[str, np.ndarray]:
    """All stored tensors by name, float16 and double widened or narrowed to float32."""
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError("sparse tensors are not supported.", where=f"{path}: '{name}'", remedy="Export it dense.")
    return {tensor.name: array(tensor, path) for tensor in graph.initializer}


def array(tensor: TensorProto, path: Path) -> np.ndarray:
    """One stored tensor, size and values checked; raises ModelError."""
    place = f"{path}: tensor '{tensor.name}'"
    if tensor.data_type not in (*FLOATS, *INTEGERS):
        kind = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in TensorProto.DataType.values() else "?"
        raise ModelError(f"holds values of the type {kind}.", where=place, remedy="Export the model in float32.")
    if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) * 8 > LARGEST:
        raise ModelError(f"has the shape {list(tensor.dims)}.", where=place, remedy="Export the model again.")
    try:
        found = (
            _external(tensor, path) if tensor.data_location == TensorProto.EXTERNAL else numpy_helper.to_array(tensor)
        )
    except ModelError:
        raise
    except Exception:
        what = f"its bytes do not fit its shape {list(tensor.dims)}."
        raise ModelError(what, where=place, remedy="The file is damaged: export it again.") from None
    if tensor.data_type in FLOATS:
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            what = "holds NaN or infinite weights."
            raise ModelError(what, where=place, remedy="Train or export the model again; it cannot compute anything.")
    return np.array(found)


def _external(tensor: TensorProto, path: Path) -> np.ndarray:
    """Tensor stored in a file beside the model; never outside the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    place = f"{path}: tensor '{tensor.name}'"
    location, folder = entries.get("location", ""), path.parent.resolve()
    try:
        source = (folder / location).resolve()
    except (OSError, RuntimeError, ValueError):
        what = f"its data file '{location}' cannot be found."
        raise ModelError(what, where=place, remedy="Save the model with its data beside it.") from None
    if not location or Path(location).is_absolute() or not source.is_relative_to(folder):
        what = f"its data is said to lie at '{location}', outside the model's folder."
        raise ModelError(what, where=place, remedy="Save the model with its data beside it.")
    if not source.is_file():
        remedy = f"Put {location} beside the model."
        raise ModelError(f"its data file '{location}' is missing.", where=place, remedy=remedy)
    if source.stat().st_nlink > 1:
        what = f"its data file '{location}' is a hard link, which may lead outside the model's folder."
        raise ModelError(what, where=place, remedy=f"Put a copy of {location} in its place.")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    size = math.prod(tensor.dims) * dtype.itemsize
    offset, length = _number(entries.get("offset", "0"), place), _number(entries.get("length", str(size)), place)
    if length != size or offset + length > source.stat().st_size:
        what = f"{length} bytes at {offset} of '{location}' do not fit its shape {list(tensor.dims)}."
        raise ModelError(what, where=place, remedy="The files do not belong together: export the model again.")
    with source.open("rb") as file:
        file.seek(offset)
        return np.frombuffer(file.read(length), dtype).reshape(list(tensor.dims))


def _number(text: str, place: str) -> int:
    if not text.isdigit() or len(text) > 18:
        raise ModelError(f"'{text}' is no place in a file.", where=place, remedy="Export the model again.")
    return int(text)


def true_inputs(graph: GraphProto, stored: Iterable[str]) -> list[onnx.ValueInfoProto]:
    """Inputs that are no stored tensors (old files list those among the inputs)."""
    names = set(stored)
    return [value for value in graph.input if value.name not in names]
