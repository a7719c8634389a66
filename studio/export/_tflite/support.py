"""What LiteRT can hold and which kernel runs it: the one place that `can` and the writer ask."""

from __future__ import annotations

import math

import numpy as np

from studio.export._tflite import moving
from studio.lowering.program import Operation, Program

_KERNELS = {
    "conv": "CONV_2D", "linear": "FULLY_CONNECTED", "conv_transpose": "TRANSPOSE_CONV", "matmul": "BATCH_MATMUL",
    "batch_norm": "MUL, ADD", "leaky_relu": "LEAKY_RELU", "prelu": "PRELU", "sigmoid": "LOGISTIC", "tanh": "TANH",
    "hard_sigmoid": "MUL, ADD, RELU_0_TO_1", "hard_swish": "HARD_SWISH", "softmax": "SOFTMAX", "add": "ADD",
    "sub": "SUB", "mul": "MUL", "div": "DIV", "max_pool": "MAX_POOL_2D", "average_pool": "AVERAGE_POOL_2D",
    "global_average_pool": "MEAN", "reduce_mean": "MEAN", "concat": "CONCATENATION", "slice": "STRIDED_SLICE",
    "pad": "PAD", "gather": "GATHER", "expand": "TILE", "relu": "RELU", "clip": "RELU",
}  # fmt: skip


def refusal(operation: Operation, program: Program) -> str | None:
    """Reason why the file cannot hold an operation with the numbers of the program; None where it can."""
    formats = [f for f in (*operation.input_formats, operation.output_format) if f is not None]
    if any(f.bits != 8 for f in formats):
        return f"LiteRT runs int8 activations here, not {max(f.bits for f in formats)} bits."
    check = _CHECKS.get(operation.kind)
    return check(operation, program) if check else None


def container(operation: Operation, program: Program) -> str:
    """How weights lie in the file: "int4", "int8", "float32", "" without any.

    LiteRT runs int4 weights in its default integer arithmetic (XNNPACK) in FULLY_CONNECTED with an even number of
    inputs only; in other operators, or for an odd number, it takes kernels that round otherwise.
    """
    if operation.weights is None:
        return "float32" if operation.weight is not None else ""
    q = operation.weights.q
    small = operation.weights.width <= 4 and q.size > 0 and int(np.abs(q.astype(np.int16)).max()) <= 7
    dense = operation.kind == "linear" or pointwise(operation)
    return "int4" if small and dense and math.prod(q.shape[1:]) % 2 == 0 else "int8"


def pointwise(operation: Operation) -> bool:
    """True for a convolution that is a linear layer at every place: 1x1, stride 1, no padding, one group."""
    if operation.kind != "conv" or operation.weights is None:
        return False
    settings = operation.settings
    plain = set(settings["stride"]) == {1} and not any(settings["pads"]) and settings["groups"] == 1
    return plain and set(operation.weights.q.shape[2:]) == {1}


def kernel(operation: Operation, program: Program) -> str:
    """What runs an operation: "integer kernel CONV_2D"."""
    if operation.kind in ("quantize", "dequantize", "requantize"):
        return "conversion"
    if operation.kind in ("reshape", "transpose", "constant"):
        return "moves the integers" if operation.integer else "moves the values"
    return f"{'integer' if operation.integer else 'float'} kernel {_name(operation, program)}"


def _name(operation: Operation, program: Program) -> str:
    settings = operation.settings
    if container(operation, program) == "int4":
        return "FULLY_CONNECTED"
    if operation.kind == "conv" and program.tensors[operation.inputs[0]].shape[1] == settings["groups"] > 1:
        return "DEPTHWISE_CONV_2D"
    if operation.kind == "resize":
        return "RESIZE_BILINEAR" if settings["mode"] == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    if operation.kind == "pad" and settings["mode"] != "constant":
        return "MIRROR_PAD"
    return _KERNELS[operation.kind]


def _max_pool(operation: Operation, program: Program) -> str | None:
    if max(operation.settings.get("dilation", (1,))) > 1:
        return "LiteRT has no max pooling with dilation."
    return None


def _conv_transpose(operation: Operation, program: Program) -> str | None:
    if max(operation.settings["dilation"]) > 1 or operation.settings["groups"] > 1:
        return "LiteRT has no transposed convolution with groups or dilation."
    return None


def _pad(operation: Operation, program: Program) -> str | None:
    mode, pads = operation.settings["mode"], operation.settings["pads"]
    if mode == "edge" and max(pads) > 1:
        return "LiteRT repeats an edge once only."
    return None if mode in ("constant", "reflect", "edge") else f"LiteRT has no padding of the kind {mode}."


def _resize(operation: Operation, program: Program) -> str | None:
    settings = operation.settings
    if settings["mode"] == "linear" and moving.linear_flags(operation) is None:
        return f"LiteRT has no linear resize with the coordinates {settings['coordinates']}."
    if len(program.tensors[operation.output].shape) > 4:
        return "LiteRT resizes pictures only."
    return None


def _expand(operation: Operation, program: Program) -> str | None:
    before, after = (len(program.tensors[name].shape) for name in (operation.inputs[0], operation.output))
    return "A tensor is broadcast to more axes than it has." if before != after and program.free_batch else None


_CHECKS = {
    "max_pool": _max_pool, "conv_transpose": _conv_transpose, "pad": _pad,
    "resize": _resize, "expand": _expand,
}  # fmt: skip
