"""A written file read back: its data types, integers and scales against the program."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from studio.lowering.program import Program


def differences(content: bytes, program: Program, weights: str) -> list[str]:
    """Sentences about what is not as the program says; empty for a file that is."""
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = _weights(stored, model, program, weights)
    quantizers = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    for name, info in program.tensors.items():
        if info.format is None:
            continue
        node = quantizers.get(name)
        if node is None:
            found.append(f"tensor {name} is not quantized in the file")
            continue
        scale, zero = stored[node.input[1]], stored[node.input[2]]
        if float(scale) != float(np.float32(info.format.scale)) or int(zero) != info.format.zero_point + 128:
            found.append(f"tensor {name} has scale {float(scale)} and zero point {int(zero)} in the file")
        if zero.dtype != np.uint8:
            found.append(f"tensor {name} is {zero.dtype} in the file, not uint8")
    return found


def _weights(stored: dict[str, np.ndarray], model: onnx.ModelProto, program: Program, weights: str) -> list[str]:
    found = []
    readers = {n.input[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    for operation in program.operations:
        if operation.weights is None:
            continue
        name, w = operation.nodes[0], operation.weights
        q, bias = stored.get(f"{name}.weight"), stored.get(f"{name}.bias")
        if q is None or bias is None or q.dtype.name != weights or bias.dtype != np.int32:
            found.append(f"the weights of {name} are not {weights} with int32 biases in the file")
            continue
        shift = 0 if weights == "int8" else 128
        scale = stored[readers[f"{name}.weight"].input[1]]
        if not np.array_equal(q.astype(np.int16) - shift, w.q) or not np.array_equal(bias, w.bias):
            found.append(f"the integers of {name} are others in the file")
        if not np.array_equal(np.broadcast_to(scale, w.scale.shape), w.scale):
            found.append(f"the weight scales of {name} are others in the file")
    return found
