"""Which kernel ONNX Runtime runs for each operation: the optimized graph of every kind was looked at (tests)."""

from __future__ import annotations

from studio.export._onnx.operators import operator
from studio.export._onnx.weights import stored
from studio.lowering.program import Operation, Program

INTEGER = {
    "conv": "QLinearConv", "linear": "QGemm", "add": "QLinearAdd", "mul": "QLinearMul", "concat": "QLinearConcat",
    "global_average_pool": "QLinearGlobalAveragePool", "average_pool": "QLinearAveragePool",
    "softmax": "QLinearSoftmax", "sigmoid": "QLinearSigmoid", "leaky_relu": "QLinearLeakyRelu",
    "max_pool": "MaxPool", "relu": "Clip", "clip": "Clip",
}  # fmt: skip
"""Kernels on uint8 tensors."""
MOVES = ("reshape", "transpose", "slice", "resize", "gather", "expand", "pad")
"""Kinds that only move the integers."""


def kernel(operation: Operation, program: Program) -> str:
    """What runs an operation: "integer kernel QLinearConv", "float kernel Conv", with what surrounds it."""
    if operation.kind in ("quantize", "dequantize", "requantize"):
        return "conversion"
    if operation.kind == "constant":
        return "stored"
    name = kernel_type(operation, program)
    if not operation.integer:
        return _float_kernel(operation, program, name)
    if name in INTEGER.values():
        return f"integer kernel {name}"
    if operation.kind in MOVES and not _interpolates(operation):
        return "moves the integers"
    return f"float kernel {name} between conversions"


def _float_kernel(operation: Operation, program: Program, name: str) -> str:
    if operation.kind == "matmul" and all(_dequantized(source, program) for source in operation.inputs):
        return "integer kernel MatMulIntegerToFloat"
    weights = stored(operation, program, "int8")
    grid = weights is not None and weights.scale is not None
    return f"float kernel {name}" + (", weights dequantized at each run" if grid else "")


def _dequantized(name: str, program: Program) -> bool:
    writer = program.by_output.get(name)
    return writer is not None and writer.kind == "dequantize"


def kernel_type(operation: Operation, program: Program) -> str:
    """Operator type in the optimized graph."""
    if operation.integer and operation.kind in INTEGER:
        return INTEGER[operation.kind]
    if operation.kind == "linear":
        return "Gemm" if len(program.tensors[operation.output].shape) == 2 else "MatMul"
    return operator(operation).type


def _interpolates(operation: Operation) -> bool:
    return operation.kind == "resize" and operation.settings["mode"] != "nearest"
