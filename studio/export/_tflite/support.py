"""What LiteRT can hold and which kernel runs it: the one place that `can` and the writer ask."""

from __future__ import annotations

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


def kernel(operation: Operation, program: Program) -> str:
    """What runs an operation: "integer kernel CONV_2D"."""
    if operation.kind in ("quantize", "dequantize", "requantize"):
        return "conversion"
    if operation.kind in ("reshape", "transpose", "constant"):
        return "moves the integers" if operation.integer else "moves the values"
    return f"{'integer' if operation.integer else 'float'} kernel {_name(operation, program)}"


def _name(operation: Operation, program: Program) -> str:
    settings = operation.settings
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
