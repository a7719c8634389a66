"""The attention stage as ONNX graphs: `attention.onnx`, and joined with a network `pipeline.onnx`.

Only exact integer operations: ONNX Runtime gives the box, score and pixels that Python gives, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from studio.attention import Stage
from studio.attention._resize import BITS, weights
from studio.attention._selector import Size
from studio.core.errors import ExportError
from studio.core.plan import Attention
from studio.export._onnx.names import rename

OPSET = 13
"""Oldest opset in which every operation used here takes integers."""
NAMES = ("frame", "box", "score", "crop")
"""Inputs and outputs of the attention graph."""
GREY = (19595, 38470, 7471)  # of 65536: Pillow's convert("L")


class Recorder:
    """An `Arithmetic` that writes down what it is asked for; a tensor is its name in the graph."""

    def __init__(self, prefix: str = "attention/", **given: Any) -> None:
        """All its names begin with `prefix`; `given`: tensors that exist already, with their types."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._prefix = prefix
        self._types: dict[str, Any] = dict(given)

    def op(self, kind: str, *inputs: str, dtype: Any = None, name: str = "", **attributes: Any) -> str:
        """Add one node with one output; `dtype` defaults to that of the first input."""
        place = f"{self._prefix}{kind}_{len(self.nodes)}"
        name = name or place
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=place, **attributes))
        self._types[name] = dtype or self._types.get(inputs[0])
        return name

    def array(self, values: Any, dtype: Any) -> str:
        """Add numbers of a type, once."""
        array = np.asarray(values, dtype, order="C")
        key = f"{self._prefix}constant_{len(self.constants)}"
        tensor = numpy_helper.from_array(array, key)
        for name, old in self.constants.items():
            if (old.raw_data, old.dims, old.data_type) == (tensor.raw_data, tensor.dims, tensor.data_type):
                return name
        self.constants[key] = tensor
        self._types[key] = np.dtype(dtype).type
        return key

    def constant(self, values: Any) -> str:
        """Int32 numbers."""
        return self.array(values, np.int32)

    def integers(self, x: str) -> str:
        """Uint8 -> int32."""
        return self.op("Cast", x, dtype=np.int32, to=TensorProto.INT32)

    def add(self, a: str, b: str) -> str:
        """Return a + b."""
        return self.op("Add", a, b)

    def subtract(self, a: str, b: str) -> str:
        """Return a - b."""
        return self.op("Sub", a, b)

    def multiply(self, a: str, factor: int) -> str:
        """Return a * factor."""
        return self.op("Mul", a, self.array(factor, self._types[a]))

    def divide(self, a: str, divisor: int) -> str:
        """Return a // divisor; Div truncates, which is the floor for a >= 0."""
        return self.op("Div", a, self.array(divisor, self._types[a]))

    def maximum(self, a: str, b: str) -> str:
        """Return the larger of both."""
        return self.op("Max", a, b)

    def minimum(self, a: str, b: str) -> str:
        """Return the smaller of both."""
        return self.op("Min", a, b)

    def absolute(self, a: str) -> str:
        """|a|."""
        return self.op("Abs", a)

    def positive(self, a: str) -> str:
        """Return a where it is above 0, else 0."""
        return self.op("Max", a, self.array(0, self._types[a]))

    def take(self, a: str, indices: Sequence[int], axis: int) -> str:
        """Rows or columns by their number; a range becomes a Slice."""
        if isinstance(indices, range) and indices.step == 1:
            bounds = (self.array([v], np.int64) for v in (indices.start, indices.stop, axis))
            return self.op("Slice", a, *bounds)
        return self.op("Gather", a, self.array(indices, np.int64), axis=axis)

    def plane(self, a: str, channel: int) -> str:
        """(h, w, c) -> (h, w)."""
        return self.op("Gather", a, self.array(channel, np.int64), axis=2)

    def block_sums(self, a: str, shape: Size, size: int) -> str:
        """(h, w) -> `shape`: sums over blocks."""
        if size == 1:
            return a
        rows, columns = shape
        cut = self.take(self.take(a, range(rows * size), 0), range(columns * size), 1)
        blocks = self.op("Reshape", cut, self.array([rows, size, columns, size], np.int64))
        return self.op("ReduceSum", blocks, self.array([1, 3], np.int64), keepdims=0)

    def pad(self, a: str, before: int, after: int) -> str:
        """(h, w) with zeros around it."""
        return self.op("Pad", a, self.array([before, before, after, after], np.int64))

    def cumulative(self, a: str) -> str:
        """Return sums over everything above and left, int64."""
        wide = self.op("Cast", a, dtype=np.int64, to=TensorProto.INT64)
        return self.op("CumSum", self.op("CumSum", wide, self.array(0, np.int64)), self.array(1, np.int64))

    def first_maximum(self, a: str) -> str:
        """Place of the first largest value in row-major order (`select_last_index` is 0)."""
        return self.op("ArgMax", self._flat(a), axis=0, keepdims=1, dtype=np.int64)

    def at(self, a: str, place: str) -> str:
        """Value at a row-major place."""
        return self.op("Gather", self._flat(a), place, axis=0)

    def _flat(self, a: str) -> str:
        return self.op("Reshape", a, self.array([-1], np.int64))


def write_attention(attention: Attention, frame: Size, size: Size, opset: int = OPSET) -> bytes:
    """`attention.onnx` for frames of one size.

    Input `frame` uint8 (H, W, 3); outputs `box` int32 (4,) left, top, right, bottom, `score` int32 (), and
    `crop` uint8 (*size, 3), `size` being the network's input. Raises ExportError for `full`, which has no crop.
    """
    if attention.selector == "full":
        remedy = "Export without attention, or choose another selector."
        raise ExportError("the whole frame at full resolution needs no attention stage.", where="full", remedy=remedy)
    stage = Stage.of(attention.selector, attention.settings, frame=frame, size=size, crop=attention.crop)
    record = Recorder(frame=np.uint8)
    chosen = stage.selector.compute(record, "frame", frame, stage.window, stage.settings)
    height, width = stage.window
    corner = record.op("Concat", chosen.left, chosen.top, axis=0)
    far = record.add(corner, record.constant([width, height]))
    record.op("Concat", corner, far, axis=0, name="box")
    score = record.op("Cast", chosen.score, dtype=np.int32, to=TensorProto.INT32)
    record.op("Reshape", score, record.array([], np.int64), name="score")
    rows = record.op("Gather", "frame", record.add(chosen.top, record.constant(np.arange(height))), axis=0)
    cut = record.op("Gather", rows, record.add(chosen.left, record.constant(np.arange(width))), axis=1)
    _resize(record, cut, stage.window, size)
    outputs: Any = (
        ("box", TensorProto.INT32, [4]),
        ("score", TensorProto.INT32, []),
        ("crop", TensorProto.UINT8, [*size, 3]),
    )
    graph = helper.make_graph(
        record.nodes,
        "attention",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [*frame, 3])],
        [helper.make_tensor_value_info(*row) for row in outputs],
        list(record.constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="edge-studio")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _resize(record: Recorder, cut: str, window: Size, size: Size) -> None:
    """(h, w, 3) uint8 -> `crop`, as `studio.attention.crop_resize` does it; all sums stay below 2^31."""
    if window == size:
        record.op("Identity", cut, name="crop")
        return
    planes = record.op("Transpose", record.integers(cut), perm=[2, 0, 1])
    rows = record.op("MatMul", record.constant(weights(window[0], size[0])), planes)
    both = record.op("MatMul", rows, record.constant(weights(window[1], size[1]).T))
    rounded = record.divide(record.add(both, record.constant(1 << (2 * BITS - 1))), 1 << (2 * BITS))
    pixels = record.op("Transpose", rounded, perm=[1, 2, 0])
    record.op("Cast", pixels, dtype=np.uint8, name="crop", to=TensorProto.UINT8)


def join(attention: bytes, network: bytes, preprocess: Mapping[str, Any]) -> bytes:
    """`pipeline.onnx`: one graph from `frame` to `box`, `score` and the network's own outputs.

    `preprocess` is the form of `preprocess.json`; scale, mean, std and the order of channels become part
    of the graph, in the operations that the data reader uses. Raises ExportError where the two do not fit.
    """
    first, second = onnx.load_from_string(attention), onnx.load_from_string(network)
    opset = next((o.version for o in second.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OPSET:
        remedy = f"Export it with the studio, which writes opset {OPSET} or later."
        raise ExportError(f"the network is written in opset {opset}.", where="pipeline.onnx", remedy=remedy)
    stored = {t.name for t in second.graph.initializer}
    inputs = [i for i in second.graph.input if i.name not in stored]
    if len(inputs) != 1:
        remedy = "The attention stage feeds one picture to one input."
        raise ExportError(f"the network has {len(inputs)} inputs.", where="pipeline.onnx", remedy=remedy)
    rename(second.graph, {name: f"network/{name}" for name in NAMES})
    crop = tuple(d.dim_value for d in first.graph.output[2].type.tensor_type.shape.dim)
    record = Recorder("prepare/", crop=np.uint8)
    _prepare(record, inputs[0], (crop[0], crop[1]), preprocess)
    return _joined(first, second, record, inputs[0].name)


def _joined(first: onnx.ModelProto, second: onnx.ModelProto, record: Recorder, fed: str) -> bytes:
    """Put nodes and constants of all three into the network's model; its batch becomes 1."""
    graph = onnx.GraphProto()
    graph.name = "pipeline"
    graph.node.extend([*first.graph.node, *record.nodes, *second.graph.node])
    graph.initializer.extend([*first.graph.initializer, *record.constants.values(), *second.graph.initializer])
    graph.sparse_initializer.extend(second.graph.sparse_initializer)
    graph.input.extend(first.graph.input)
    graph.output.extend([*list(first.graph.output)[:2], *second.graph.output])
    graph.quantization_annotation.extend(second.graph.quantization_annotation)
    for output in list(graph.output)[2:]:
        _one_sample(output)
    second.graph.CopyFrom(graph)
    second.ir_version = max(first.ir_version, second.ir_version)
    onnx.checker.check_model(second)
    return bytes(second.SerializeToString())


def _one_sample(value: onnx.ValueInfoProto) -> None:
    shape = value.type.tensor_type.shape
    if shape.dim and not shape.dim[0].HasField("dim_value"):
        shape.dim[0].dim_value = 1


def _prepare(record: Recorder, fed: onnx.ValueInfoProto, size: Size, preprocess: Mapping[str, Any]) -> None:
    """`crop` uint8 (h, w, 3) -> the network's input `fed`, float32, under its own name."""
    channels = preprocess.get("channels") or "RGB"
    layout = preprocess.get("layout") or "NCHW"
    depth = 1 if channels == "L" else 3
    wanted = [1, depth, *size] if layout == "NCHW" else [1, *size, depth]
    _check_shape(fed, wanted)
    x = "crop"
    if channels == "BGR":
        x = record.op("Gather", x, record.array([2, 1, 0], np.int64), axis=2)
    elif channels == "L":
        grey = record.op("MatMul", record.integers(x), record.constant(np.array(GREY)[:, None]))
        x = record.divide(record.add(grey, record.constant(1 << 15)), 1 << 16)
    x = record.op("Cast", x, dtype=np.float32, to=TensorProto.FLOAT)
    for kind, key, neutral in (("Mul", "scale", 1.0), ("Sub", "mean", 0.0), ("Div", "std", 1.0)):
        values = np.atleast_1d(np.asarray(preprocess.get(key, neutral), np.float32))
        if set(values.tolist()) != {neutral}:
            x = record.op(kind, x, record.array(values, np.float32))
    if layout == "NCHW":
        x = record.op("Transpose", x, perm=[2, 0, 1])
    record.op("Reshape", x, record.array(wanted, np.int64), name=fed.name)


def _check_shape(fed: onnx.ValueInfoProto, wanted: list[int]) -> None:
    dims = fed.type.tensor_type.shape.dim
    fits = len(dims) == 4 and all(
        not d.HasField("dim_value") or d.dim_value == w for d, w in zip(dims, wanted, strict=True)
    )
    if fed.type.tensor_type.elem_type != TensorProto.FLOAT or not fits:
        shape = [d.dim_value or d.dim_param or "?" for d in dims]
        remedy = "Check layout and channels of the preprocessing, and the crop's size."
        what = f"the network takes {shape}, the attention stage gives float32 {wanted}."
        raise ExportError(what, where="pipeline.onnx", remedy=remedy)
