"""One integer operator in the real runtimes: a QDQ graph in ONNX Runtime, a one-operator .tflite in LiteRT.

Formats are TensorFormat; arrays are int8 in the network's layout (channels second).
"""

import flatbuffers
import numpy as np
import onnxruntime as ort
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

from studio.lowering.program import TensorFormat


class OnnxGraph:
    """QDQ graph under construction: uint8 activations, int8 weights."""

    def __init__(self):
        self.nodes, self.tensors, self.inputs = [], [], []

    def constant(self, name, value):
        self.tensors.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def dequantize(self, source, name, scale, zero_point, **attributes):
        scale = self.constant(f"{name}_s", np.asarray(scale, np.float32))
        zero = self.constant(f"{name}_z", np.asarray(zero_point))
        return self.node("DequantizeLinear", [source, scale, zero], name, **attributes)

    def quantize(self, source, name, form):
        scale = self.constant(f"{name}_s", np.asarray(form.scale, np.float32))
        zero = self.constant(f"{name}_z", np.uint8(form.zero_point + 128))
        return self.node("QuantizeLinear", [source, scale, zero], name)

    def input(self, shape, form):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
        return self.dequantize(name, f"{name}_d", form.scale, np.uint8(form.zero_point + 128))

    def weights(self, weights, source):
        """Dequantized weight and bias of IntegerWeights."""
        q, b = self.constant("w", weights.q), self.constant("b", weights.bias)
        zeros = np.zeros(len(weights.q), np.int8)
        scale = np.float32(source.scale) * weights.scale
        return [
            self.dequantize(q, "wd", weights.scale, zeros, axis=0),
            self.dequantize(b, "bd", scale, np.zeros(len(zeros), np.int32), axis=0),
        ]

    def run(self, output, form, arrays):
        """Int8 values of `output` in the format `form`."""
        name = self.quantize(output, "y", form)
        results = [helper.make_tensor_value_info(name, TensorProto.UINT8, None)]
        made = helper.make_graph(self.nodes, "one", self.inputs, results, self.tensors)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        feed = {i.name: (a.astype(np.int16) + 128).astype(np.uint8) for i, a in zip(self.inputs, arrays, strict=True)}
        return (session.run(None, feed)[0].astype(np.int16) - 128).astype(np.int8)


TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}


class TfliteGraph:
    """One-operator .tflite under construction; shapes here are channels last."""

    def __init__(self):
        self.subgraph, self.model = schema.SubGraphT(), schema.ModelT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.subgraph.tensors, self.subgraph.inputs, self.subgraph.operators = [], [], []

    def tensor(self, shape, kind=np.int8, form=None, scales=None, axis=0, value=None):
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[np.dtype(kind)], f"t{len(self.subgraph.tensors)}"
        made.buffer = 0
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        if form is not None or scales is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.float32([form.scale]) if form else np.asarray(scales, np.float32)
            zero_point = form.zero_point if form else 0
            made.quantization.zeroPoint = np.full(len(made.quantization.scale), zero_point, np.int64)
            made.quantization.quantizedDimension = axis
        self.subgraph.tensors.append(made)
        return len(self.subgraph.tensors) - 1

    def input(self, shape, form):
        self.subgraph.inputs.append(self.tensor(shape, np.int8, form))
        return self.subgraph.inputs[-1]

    def constant(self, value, scales=None, axis=0):
        return self.tensor(value.shape, value.dtype, None, scales, axis, value)

    def operator(self, code, inputs, output, options=None, version=2):
        made, entry = schema.OperatorT(), schema.OperatorCodeT()
        entry.builtinCode = getattr(schema.BuiltinOperator, code)
        entry.deprecatedBuiltinCode, entry.version = min(entry.builtinCode, 127), version
        self.model.operatorCodes.append(entry)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, list(inputs), [output]
        if options is not None:
            name, fields = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            made.builtinOptions = getattr(schema, f"{name}T")()
            for field, value in fields.items():
                assert hasattr(made.builtinOptions, field), field
                setattr(made.builtinOptions, field, value)
        self.subgraph.operators.append(made)
        return output

    def run(self, output, arrays):
        """Int8 values of tensor `output` for channels-last arrays, by LiteRT's default kernels."""
        self.subgraph.outputs, self.model.subgraphs = [output], [self.subgraph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        interpreter = Interpreter(model_content=bytes(builder.Output()), num_threads=1)
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], np.ascontiguousarray(array))
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


class Runtimes:
    """One-operator graphs, and random formats to fill them."""

    Onnx, Tflite = OnnxGraph, TfliteGraph

    @staticmethod
    def last(x):
        """(N, C, h, w) -> (N, h, w, C)."""
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    @staticmethod
    def first(x):
        """(N, h, w, C) -> (N, C, h, w)."""
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    @staticmethod
    def form(random, scale=None):
        """Random format; `scale` fixed where given."""
        scale = np.exp(random.normal(-3, 0.7)) if scale is None else scale
        return TensorFormat(float(np.float32(scale)), int(random.integers(-128, 128)))


@pytest.fixture(scope="session")
def runtimes() -> type[Runtimes]:
    """Real runtimes for one operator at a time."""
    torch.set_num_threads(1)
    return Runtimes


@pytest.fixture
def random() -> np.random.Generator:
    """Seeded numbers."""
    return np.random.default_rng(7)
