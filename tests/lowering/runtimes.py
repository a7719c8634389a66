"""One integer operator in the real runtimes: a QDQ graph in ONNX Runtime, a one-operator .tflite in LiteRT.

Formats are (scale, zero point) of int8 tensors; arrays are int8, channels first for ONNX, last for LiteRT.
"""

import flatbuffers
import numpy as np
import onnx
import onnxruntime as ort
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper


class OnnxGraph:
    """QDQ graph under construction: uint8 activations, int8 weights."""

    def __init__(self):
        self.nodes, self.tensors, self.inputs = [], [], []

    def constant(self, name, value):
        self.tensors.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, kind, inputs, name, **attributes):
        domain = attributes.pop("domain", "")
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def dequantize(self, source, name, scale, zero_point, axis=None):
        scale = self.constant(f"{name}_s", np.asarray(scale, np.float32))
        zero = self.constant(f"{name}_z", np.asarray(zero_point))
        return self.node("DequantizeLinear", [source, scale, zero], name, **({} if axis is None else {"axis": axis}))

    def quantize(self, source, name, scale, zero_point):
        scale = self.constant(f"{name}_s", np.asarray(scale, np.float32))
        zero = self.constant(f"{name}_z", np.asarray(zero_point))
        return self.node("QuantizeLinear", [source, scale, zero], name)

    def input(self, shape, form):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
        return self.dequantize(name, f"{name}_d", form[0], np.uint8(form[1] + 128))

    def run(self, output, form, arrays, kernel=None):
        """Int8 result; `kernel`: operator that must stand in the runtime's optimized graph."""
        name = self.quantize(output, "y", form[0], np.uint8(form[1] + 128))
        made = helper.make_graph(
            self.nodes, "one", self.inputs, [helper.make_tensor_value_info(name, TensorProto.UINT8, None)], self.tensors
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.x64quantprecision", "1")
        if kernel:
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
                options.optimized_model_filepath = file.name
                session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
                found = [node.op_type for node in onnx.load(file.name).graph.node]
                assert kernel in found, found
        else:
            session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        feed = {i.name: (a.astype(np.int16) + 128).astype(np.uint8) for i, a in zip(self.inputs, arrays, strict=True)}
        return (session.run(None, feed)[0].astype(np.int16) - 128).astype(np.int8)


TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}


class TfliteGraph:
    """One-operator .tflite under construction."""

    def __init__(self):
        self.subgraph, self.model = schema.SubGraphT(), schema.ModelT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.subgraph.tensors, self.subgraph.inputs, self.subgraph.operators = [], [], []
        self.model.operatorCodes = []

    def tensor(self, shape, kind, scale=None, zero_point=0, axis=0, value=None):
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[np.dtype(kind)], f"t{len(self.subgraph.tensors)}"
        made.buffer = 0
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            quantization.zeroPoint = np.full(len(quantization.scale), zero_point, np.int64)
            quantization.quantizedDimension = axis
            made.quantization = quantization
        self.subgraph.tensors.append(made)
        return len(self.subgraph.tensors) - 1

    def input(self, shape, form, kind=np.int8):
        index = self.tensor(shape, kind, *(form or ()))
        self.subgraph.inputs.append(index)
        return index

    def constant(self, value, scale=None, axis=0):
        return self.tensor(value.shape, value.dtype, scale, axis=axis, value=value)

    def operator(self, code, inputs, output, options=None, version=1):
        made, entry = schema.OperatorT(), schema.OperatorCodeT()
        entry.builtinCode = getattr(schema.BuiltinOperator, code)
        entry.deprecatedBuiltinCode, entry.version = min(entry.builtinCode, 127), version
        self.model.operatorCodes.append(entry)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, list(inputs), [output]
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.subgraph.operators.append(made)
        return output

    def run(self, output, arrays, reference=False):
        self.subgraph.outputs = [output]
        self.model.subgraphs = [self.subgraph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        from ai_edge_litert.interpreter import OpResolverType

        kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        interpreter = Interpreter(
            model_content=bytes(builder.Output()), num_threads=1, experimental_op_resolver_type=kind
        )
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def options(name, **fields):
    """Options object of a builtin operator: `options("Conv2DOptions", strideH=1)`."""
    made = getattr(schema, f"{name}T")()
    for field, value in fields.items():
        assert hasattr(made, field), field
        setattr(made, field, value)
    return made
