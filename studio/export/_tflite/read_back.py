"""A written .tflite read back: its data types, scales and integers against the program's."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from studio.core.packing import signed, unpack_integers
from studio.export._tflite import support
from studio.lowering.program import Operation, Program

TYPES = {"int4": schema.TensorType.INT4, "int8": schema.TensorType.INT8}


def differences(content: bytes, program: Program) -> list[str]:
    """Return a sentence for everything in the file that is not as the program says; empty where all fits."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    tensors = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    found = []
    for operation in program.operations:
        found += _activation(operation, tensors.get(operation.output))
        if operation.weights is not None:
            found += _weights(operation, program, model, tensors)
        elif operation.weight is not None:
            found += _float_weights(operation, tensors)
    return found


def _activation(operation: Operation, tensor: Any) -> list[str]:
    if tensor is None or operation.kind == "dequantize":
        return []
    planned, name = operation.output_format, operation.output
    if planned is None:
        float32 = tensor.type == schema.TensorType.FLOAT32
        return [] if float32 else [f"tensor {name} is not float32 in the file"]
    if tensor.type != schema.TensorType.INT8:
        return [f"tensor {name} is not int8 in the file"]
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    if (scale, zero_point) != (planned.scale, planned.zero_point):
        wanted = f"{planned.scale:g} and {planned.zero_point}"
        return [f"tensor {name} has scale {scale:g} and zero point {zero_point}, planned were {wanted}"]
    return []


def _weights(operation: Operation, program: Program, model: Any, tensors: dict[str, Any]) -> list[str]:
    layer, weights, source = operation.nodes[0], operation.weights, operation.input_formats[0]
    assert weights is not None
    assert source is not None
    kernel, bias = tensors.get(f"{layer}.weight"), tensors.get(f"{layer}.bias")
    if kernel is None or bias is None:
        return [f"{layer} has no weights in the file"]
    container = support.container(operation, program)
    if kernel.type != TYPES[container] or bias.type != schema.TensorType.INT32:
        return [f"{layer} is not stored as {container} weights and int32 bias"]
    found = []
    if not np.array_equal(np.broadcast_to(kernel.quantization.scale, weights.scale.shape), weights.scale):
        found.append(f"{layer} has other weight scales in the file")
    if not np.array_equal(_content(model, bias, np.int32), weights.bias):
        found.append(f"{layer} has another bias in the file")
    # Columns may stand in another order in the file; every channel holds the same integers.
    axis = int(kernel.quantization.quantizedDimension)
    stored = np.moveaxis(_integers(model, kernel), axis, 0).reshape(len(weights.q), -1)
    if not np.array_equal(np.sort(stored, axis=1), np.sort(weights.q.reshape(len(weights.q), -1), axis=1)):
        found.append(f"{layer} has other weights in the file")
    return found


def _float_weights(operation: Operation, tensors: dict[str, Any]) -> list[str]:
    kernel = tensors.get(f"{operation.nodes[0]}.weight")
    float32 = kernel is not None and kernel.type == schema.TensorType.FLOAT32
    return [] if float32 else [f"{operation.nodes[0]} is not stored in float32"]


def _integers(model: Any, tensor: Any) -> np.ndarray:
    """Weights of a tensor as int8, also where two lie in a byte."""
    if tensor.type != schema.TensorType.INT4:
        return _content(model, tensor, np.int8)
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return signed(unpack_integers(data, int(np.prod(tensor.shape)), 4), 4).reshape(tensor.shape)


def _content(model: Any, tensor: Any, kind: type[Any]) -> np.ndarray:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(data, kind).reshape(tensor.shape)
