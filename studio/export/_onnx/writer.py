"""Program -> QDQ ONNX: uint8 activations, int8 weights per channel, int32 biases.

Every integer tensor stands between a QuantizeLinear and a DequantizeLinear that share one scale and
zero point; ONNX Runtime fuses these into integer kernels. The quantized tensor carries the program's
name, so that files can be compared with the preview tensor by tensor; outputs carry the network's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from studio.export._onnx.names import names_in_file, rename
from studio.export._onnx.operators import OnnxOperator, operator
from studio.export._onnx.weights import INT4, SHIFT, stored, weight_name
from studio.lowering.program import Operation, Program, TensorFormat
from studio.runtimes.onnxruntime import METADATA

OPSET = 13
HARD_SWISH_OPSET = 14
IR = 8
NEWER_OPSET, NEWER_IR = 21, 10
"""Of INT4, of 16-bit tensors and of scales for groups of inputs; files without them stay readable by old runtimes."""
FULL = (-128, 127)
ON_INTEGERS = ("relu", "clip", "pad")


def write(program: Program, *, description: Mapping[str, Any], weights: str = "int8") -> bytes:
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
        found = [stored(operation, program, weights) for operation in program.operations]
        wide = any(info.format is not None and info.format.bits == 16 for info in program.tensors.values())
        self.newer = wide or any(one is not None and one.newer for one in found)

    def add(self, operation: Operation) -> None:
        """Write one operation."""
        kind, output = operation.kind, operation.output
        if kind == "constant":
            self._store(next(iter(operation.constants.values())), output)
        elif kind == "requantize":
            self._quantize(self._float(operation.inputs[0]), output, self._format(output))
        elif kind == "quantize":
            self._quantize(self._kept_float(operation.inputs[0], output), output, self._format(output))
        elif kind == "dequantize":
            pair = self._pair(self._format(operation.inputs[0]))
            self._node("DequantizeLinear", [operation.inputs[0], *pair], output)
        elif not operation.integer:
            self._compute(operation, [self._float(name) for name in operation.inputs], output)
        elif kind in ON_INTEGERS:
            self._on_integers(operation)
        else:
            self._between_conversions(operation)

    def _kept_float(self, source: str, output: str) -> str:
        """Float tensor to quantize. A sum of one term parts it from the float operator that wrote it.

        ONNX Runtime takes a float layer between DQ and Q for one to be quantized, rounds its weights
        itself and runs an integer kernel; a layer that the plan leaves in float must stay float.
        """
        writer = self.program.by_output.get(source)
        if writer is None or writer.kind in ("dequantize", "constant"):
            return source
        self._node("Sum", [source], f"{output}:s")
        return f"{output}:s"

    def _on_integers(self, operation: Operation) -> None:
        """Operators whose uint8 form ONNX Runtime would not find between conversions."""
        source, output = operation.inputs[0], operation.output
        if operation.kind == "pad":
            zero = np.array(self._format(output).zero_point + SHIFT, np.uint8)
            self._node("Pad", [source, self._store(np.array(operation.settings["pads"], np.int64)), self._store(zero)],
                       output)  # fmt: skip
        else:
            self._clip(source, output, operation.clamp)

    def _clip(self, source: str, output: str, clamp: tuple[int, int]) -> None:
        bounds = [self._store(np.array(q + SHIFT, np.uint8)) for q in clamp]
        self._node("Clip", [source, *bounds], output)

    def _between_conversions(self, operation: Operation) -> None:
        """Float operator between DQ and Q; an activation that the range does not imply then clips the integers."""
        output, form = operation.output, self._format(operation.output)
        raw, clipped = f"{output}:f", operation.clamp != FULL
        self._compute(operation, [self._float(name) for name in operation.inputs], raw)
        self._quantize(raw, f"{output}:q" if clipped else output, form)
        if clipped:
            self._clip(f"{output}:q", output, operation.clamp)

    def _compute(self, operation: Operation, inputs: list[str], output: str) -> None:
        if operation.kind == "linear":
            self._linear(operation, inputs[0], output)
            return
        found = operator(operation, self.newer)
        inputs = inputs + self._weights(operation)
        constants = ["" if c is None else self._store(c) for c in found.constants]
        while constants and constants[-1] == "":
            constants.pop()
        squeeze = operation.kind == "global_average_pool" and not operation.settings.get("keep", True)
        self._node(found.type, inputs + constants, f"{output}:k" if squeeze else output, found)
        if squeeze:
            shape = (-1, *self.program.tensors[operation.output].shape[1:])
            self._node("Reshape", [f"{output}:k", self._store(np.array(shape, np.int64))], output)

    def _linear(self, operation: Operation, x: str, output: str) -> None:
        weights = self._weights(operation)
        if len(self.program.tensors[operation.output].shape) == 2:
            self._node("Gemm", [x, *weights], output, OnnxOperator("Gemm", {"transB": 1}))
        elif len(weights) == 1:
            self._node("MatMul", [x, *weights], output)
        else:
            self._node("MatMul", [x, weights[0]], f"{output}:m")
            self._node("Add", [f"{output}:m", weights[1]], output)

    def _weights(self, operation: Operation) -> list[str]:
        """Float tensors of weight and bias: dequantized integers, or the values themselves."""
        found = stored(operation, self.program, self.weights)
        if found is None:
            return []
        name = weight_name(operation, self.program)
        weight = self._store(found.weight, name)
        if found.weight.dtype == INT4:
            weight = f"{name}:8"
            self._node("Cast", [name], weight, OnnxOperator("Cast", {"to": TensorProto.INT8}))
        if found.scale is not None and found.zero is not None:
            # A zero point of its own: ONNX Runtime's x64quantprecision replaces it, and fails on a shared one.
            pair = [self._store(found.scale), self._store(found.zero, f"{name}:z")]
            settings = {"axis": found.axis} if found.scale.ndim else {}
            settings |= {"block_size": found.group} if found.group else {}
            self._node("DequantizeLinear", [weight, *pair], f"{name}:f", OnnxOperator("DequantizeLinear", settings))
            weight = f"{name}:f"
        if found.bias is None:
            return [weight]
        bias = self._store(found.bias, f"{name}:b")
        if found.bias_scale is not None:
            made = OnnxOperator("DequantizeLinear", {"axis": 0})
            self._node("DequantizeLinear", [bias, self._store(found.bias_scale)], f"{name}:bf", made)
            bias = f"{name}:bf"
        return [weight, bias]

    def _float(self, name: str) -> str:
        """Name of a tensor's float form; a DequantizeLinear for an integer one, once."""
        form = self.program.tensors[name].format
        if form is None:
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
        """Scale and zero point, the latter shifted to uint8; of 16 bits as it is."""
        scale = self._store(np.array(form.scale, np.float32))
        if form.bits == 16:
            return [scale, self._store(np.array(form.zero_point, np.int16))]
        return [scale, self._store(np.array(form.zero_point + SHIFT, np.uint8))]

    def _store(self, value: np.ndarray, name: str | None = None) -> str:
        """Initializer for a constant; equal ones without a name of their own are shared."""
        value = np.asarray(value, order="C")
        key = str((value.dtype, value.shape)).encode() + value.tobytes()
        if name is None:
            name = self._shared.setdefault(key, self._free_name(len(self._shared)))
        if name not in self.stored:
            self.stored[name] = numpy_helper.from_array(value, name)
        return name

    def _free_name(self, number: int) -> str:
        name = f":{number}"
        while name in self.program.tensors:
            name = f":{name}"
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
        rename(graph, names_in_file(program))
        swish = any(node.op_type == "HardSwish" for node in self.nodes)
        opset = NEWER_OPSET if self.newer else HARD_SWISH_OPSET if swish else OPSET
        ir = NEWER_IR if self.newer else IR
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=ir, producer_name="edge-studio")
        helper.set_model_props(model, {METADATA: json.dumps(description, separators=(",", ":"))})
        return model.SerializeToString()  # type: ignore[no-any-return]

    def _value(self, name: str) -> onnx.ValueInfoProto:
        shape: list[int | str] = list(self.program.tensors[name].shape)
        if self.program.free_batch:
            shape[0] = "N"
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
