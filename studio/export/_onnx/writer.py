"""Program -> QDQ ONNX: uint8 activations, int8 weights per channel, int32 biases.

Every integer tensor stands between a QuantizeLinear and a DequantizeLinear that share one scale and
zero point; ONNX Runtime fuses these into integer kernels. The quantized tensor carries the program's
name, so that files can be compared with the preview tensor by tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from studio.export._onnx.operators import OnnxOperator, operator
from studio.lowering.program import Operation, Program, TensorFormat

OPSET = 13
HARD_SWISH_OPSET = 14
IR = 8
FULL = (-128, 127)
METADATA = "edge_studio"


def write(program: Program, description: Mapping[str, Any], weights: str = "int8") -> bytes:
    """Return the file. `weights`: container of integer weights, int8 or uint8 (zero point 128)."""
    writer = Writer(program, weights)
    for operation in program.operations:
        writer.add(operation)
    return writer.finish(description)


class Writer:
    """Nodes and initializers so far; scales and zero points are stored once each."""

    def __init__(self, program: Program, weights: str) -> None:
        self.program = program
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, onnx.TensorProto] = {}
        self._shared: dict[bytes, str] = {}
        self._dequantized: dict[str, str] = {}

    def add(self, operation: Operation) -> None:
        """Write one operation."""
        if operation.kind == "quantize":
            self._quantize(operation.inputs[0], operation.output, self._format(operation.output))
        elif operation.kind == "dequantize":
            self._node("DequantizeLinear", [operation.inputs[0], *self._pair(self._format(operation.inputs[0]))],
                       operation.output)  # fmt: skip
        elif operation.kind == "requantize":
            self._quantize(self._float(operation.inputs[0]), operation.output, self._format(operation.output))
        elif operation.integer:
            self._integer(operation)
        else:
            self._compute(operation, [self._float(name) for name in operation.inputs], operation.output)

    def _integer(self, operation: Operation) -> None:
        """Float operator between DQ and Q; a fused activation that the range does not imply follows as its own."""
        form = self._format(operation.output)
        raw = f"{operation.output}:f"
        self._compute(operation, [self._float(name) for name in operation.inputs], raw)
        if operation.clamp == FULL or operation.kind in ("relu", "clip"):
            self._quantize(raw, operation.output, form)
            return
        self._quantize(raw, f"{operation.output}:q", form)
        self._node("DequantizeLinear", [f"{operation.output}:q", *self._pair(form)], f"{operation.output}:d")
        low, high = ((np.float32(q - form.zero_point) * np.float32(form.scale)) for q in operation.clamp)
        bounds = [self._store(np.array(v, np.float32)) for v in (low, high)]
        self._node("Clip", [f"{operation.output}:d", *bounds], f"{operation.output}:c")
        self._quantize(f"{operation.output}:c", operation.output, form)

    def _compute(self, operation: Operation, inputs: list[str], output: str) -> None:
        if operation.kind == "linear":
            self._linear(operation, inputs[0], output)
            return
        found = operator(operation)
        inputs = inputs + self._weights(operation) if operation.kind in ("conv", "conv_transpose") else inputs
        if operation.kind == "constant":
            return
        constants = ["" if c is None else self._store(c) for c in found.constants]
        while constants and constants[-1] == "":
            constants.pop()
        squeeze = operation.kind == "global_average_pool" and not operation.settings.get("keep", True)
        self._node(found.type, inputs + constants, f"{output}:k" if squeeze else output, found)
        if squeeze:
            shape = (-1, *self.program.tensors[operation.output].shape[1:])
            self._node("Reshape", [f"{output}:k", self._store(np.array(shape, np.int64))], output)

    def _linear(self, operation: Operation, x: str, output: str) -> None:
        if len(self.program.tensors[operation.output].shape) == 2:
            made = OnnxOperator("Gemm", {"transB": 1})
            self._node("Gemm", [x, *self._weights(operation)], output, made)
            return
        assert operation.weight is not None
        weight = self._store(np.ascontiguousarray(operation.weight.T))
        if operation.bias is None:
            self._node("MatMul", [x, weight], output)
        else:
            self._node("MatMul", [x, weight], f"{output}:m")
            self._node("Add", [f"{output}:m", self._store(operation.bias)], output)

    def _weights(self, operation: Operation) -> list[str]:
        """Float tensors of weight and bias: dequantized integers, or the decoded weights themselves."""
        name = operation.nodes[0]
        if operation.weights is None:
            assert operation.weight is not None
            stored = [self._store(operation.weight, f"{name}.weight")]
            return stored if operation.bias is None else [*stored, self._store(operation.bias, f"{name}.bias")]
        w, source = operation.weights, operation.input_formats[0]
        assert source is not None
        wide = w.q if self.weights == "int8" else (w.q.astype(np.int16) + 128).astype(np.uint8)
        axis = 1 if operation.kind == "conv_transpose" else 0
        zero = np.full(w.scale.shape, 0 if self.weights == "int8" else 128, dtype=wide.dtype)
        scale, zero = (w.scale, zero) if w.per_channel else (w.scale[0], zero[0])
        made = OnnxOperator("DequantizeLinear", {"axis": axis} if w.per_channel else {})
        q = self._store(wide, f"{name}.weight")
        # A zero point of its own: ONNX Runtime's x64quantprecision replaces it, and fails on a shared one.
        stored_zero = self._store(zero, f"{name}.zero")
        self._node("DequantizeLinear", [q, self._store(scale), stored_zero], f"{name}.weight:f", made)
        bias_scale = (np.float32(source.scale) * w.scale).astype(np.float32)
        per_bias = OnnxOperator("DequantizeLinear", {"axis": 0})
        b = self._store(w.bias.astype(np.int32), f"{name}.bias")
        self._node("DequantizeLinear", [b, self._store(bias_scale)], f"{name}.bias:f", per_bias)
        return [f"{name}.weight:f", f"{name}.bias:f"]

    def _float(self, name: str) -> str:
        """Name of a tensor's float form; a DequantizeLinear for an integer one, once."""
        form = self.program.tensors[name].format
        if form is None:
            producer = self.program.by_output.get(name)
            if producer is not None and producer.kind == "constant":
                return self._store(next(iter(producer.constants.values())))
            return name
        if name not in self._dequantized:
            self._dequantized[name] = f"{name}:d0"
            self._node("DequantizeLinear", [name, *self._pair(form)], f"{name}:d0")
        return self._dequantized[name]

    def _quantize(self, source: str, output: str, form: TensorFormat) -> None:
        self._node("QuantizeLinear", [source, *self._pair(form)], output)

    def _format(self, name: str) -> TensorFormat:
        form = self.program.tensors[name].format
        assert form is not None
        return form

    def _pair(self, form: TensorFormat) -> list[str]:
        """Scale and zero point, the latter shifted to uint8."""
        scale = self._store(np.array(form.scale, np.float32))
        return [scale, self._store(np.array(form.zero_point + 128, np.uint8))]

    def _store(self, value: np.ndarray, name: str | None = None) -> str:
        """Initializer for a constant; equal ones without a name of their own are shared."""
        value = np.asarray(value, order="C")
        key = str((value.dtype, value.shape)).encode() + value.tobytes()
        if name is None:
            name = self._shared.setdefault(key, f"c{len(self._shared)}")
        if name not in self.stored:
            self.stored[name] = numpy_helper.from_array(value, name)
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str, made: OnnxOperator | None = None) -> None:
        attributes = dict(made.attributes) if made else {}
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))

    def finish(self, description: Mapping[str, Any]) -> bytes:
        """Graph with inputs, outputs and what the file says of itself."""
        program = self.program
        inputs = [self._value(name) for name in program.inputs]
        outputs = [self._value(name) for name in program.outputs]
        graph = helper.make_graph(self.nodes, program.name, inputs, outputs, list(self.stored.values()))
        swish = any(node.op_type == "HardSwish" for node in self.nodes)
        opset = helper.make_opsetid("", HARD_SWISH_OPSET if swish else OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="edge-studio")
        helper.set_model_props(model, {METADATA: json.dumps(description, separators=(",", ":"))})
        return model.SerializeToString()  # type: ignore[no-any-return]

    def _value(self, name: str) -> onnx.ValueInfoProto:
        shape: list[int | str] = list(self.program.tensors[name].shape)
        if self.program.free_batch:
            shape[0] = "N"
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
