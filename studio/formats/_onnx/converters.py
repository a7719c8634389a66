"""Converters of operators that compute: weighted ones, activations, joins, pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from studio.formats._onnx.build import Builder, Call, Ref, converts
from studio.formats._onnx.constants import axes_of
from studio.network import operators_plain as plain
from studio.network.operators import BatchNorm, Conv, ConvTranspose, Linear, MatMul, Operator

MOST_PADS = 4096
"""More zeros at an edge come from damaged files only, and would fill the memory."""


def tensor(value: np.ndarray) -> torch.Tensor:
    """Return a constant as a tensor of its own memory."""
    return torch.from_numpy(np.array(value))


def pads_of(call: Call, size: Sequence[int], reach: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Pads, begins then ends; `auto_pad` resolved for the input `size`."""
    rank = len(size)
    auto = call.attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(call.attributes.get("pads", [0] * 2 * rank))
        if max(pads) > MOST_PADS or min(pads) < 0:
            raise ValueError(f"pads {pads}")
        return pads
    if auto == "VALID":
        return [0] * 2 * rank
    total = [max(0, (math.ceil(s / t) - 1) * t + r - s) for s, t, r in zip(size, stride, reach, strict=True)]
    low = [t // 2 for t in total]
    high = [t - h for t, h in zip(total, low, strict=True)]
    return low + high if auto == "SAME_UPPER" else high + low


@converts("Conv")
def conv(builder: Builder, call: Call) -> None:
    """Convolution 1d or 2d."""
    weight, bias = call.constant(1), call.constant(2)
    if weight is None or (len(call.inputs) > 2 and call.inputs[2] is not None and bias is None):
        raise builder.fail(call, "its weights are computed, not stored.")
    rank, x = weight.ndim - 2, call.ref()
    if rank not in (1, 2):
        raise builder.fail(call, f"a convolution over {rank} axes is not supported.", "Use 1d or 2d convolutions.")
    stride = call.attributes.get("strides", [1] * rank)
    dilation = call.attributes.get("dilations", [1] * rank)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pads = pads_of(call, x.shape[2:], reach, stride)
    groups = call.attributes.get("group", 1)
    operator = Conv(tensor(weight), None if bias is None else tensor(bias), stride, pads, dilation, groups)
    builder.emit(call, operator, [x], weight=call.weight(1))


@converts("ConvTranspose")
def conv_transpose(builder: Builder, call: Call) -> None:
    """Transposed convolution; `output_shape` resolved into pads."""
    weight, bias, x = call.constant(1), call.constant(2), call.ref()
    if weight is None or weight.ndim not in (3, 4):
        raise builder.fail(call, "its weights are computed, or not 1d or 2d.")
    rank = weight.ndim - 2
    stride = call.attributes.get("strides", [1] * rank)
    dilation = call.attributes.get("dilations", [1] * rank)
    extra = call.attributes.get("output_padding", [0] * rank)
    pads = list(call.attributes.get("pads", [0] * 2 * rank))
    auto = call.attributes.get("auto_pad", "NOTSET")
    wanted = call.attributes.get("output_shape")
    if auto.startswith("SAME") and wanted is None:
        wanted = [s * t for s, t in zip(x.shape[2:], stride, strict=True)]
    if wanted is not None:
        for i in range(rank):
            reach = dilation[i] * (weight.shape[2 + i] - 1) + 1
            total = max(0, stride[i] * (x.shape[2 + i] - 1) + extra[i] + reach - wanted[-rank + i])
            small = total // 2
            upper = auto == "SAME_UPPER"
            pads[i], pads[rank + i] = (small, total - small) if upper else (total - small, small)
    groups = call.attributes.get("group", 1)
    reached = [
        stride[i] * (x.shape[2 + i] - 1) + dilation[i] * (weight.shape[2 + i] - 1) + 1 + extra[i] for i in range(rank)
    ]
    builder.check_size(call, [1, weight.shape[1] * groups, *reached])
    made = ConvTranspose(tensor(weight), None if bias is None else tensor(bias), stride, pads, extra, dilation, groups)
    builder.emit(call, made, [x], weight=call.weight(1))


@converts("Gemm")
def gemm(builder: Builder, call: Call) -> None:
    """`alpha * A' B' + beta * C` with a stored B becomes a linear layer."""
    weight, bias, x = call.constant(1), call.constant(2), call.ref()
    if weight is None or call.attributes.get("transA", 0):
        raise builder.fail(call, "its weights are computed, or its input is transposed.")
    weight = weight if call.attributes.get("transB", 0) else weight.T
    weight = weight * np.float32(call.attributes.get("alpha", 1.0))
    if bias is not None:
        bias = np.broadcast_to(np.ravel(bias) * np.float32(call.attributes.get("beta", 1.0)), (len(weight),))
    builder.emit(call, Linear(tensor(weight), None if bias is None else tensor(bias)), [x], weight=call.weight(1))


@converts("MatMul")
def matmul(builder: Builder, call: Call) -> None:
    """Product with a stored matrix is a linear layer, of two computed tensors a product."""
    weight = call.constant(1)
    if weight is not None and weight.ndim == 2 and isinstance(call.inputs[0], Ref):
        builder.emit(call, Linear(tensor(weight.T), None), [call.ref()], weight=call.weight(1))
    else:
        builder.emit(call, MatMul(), [builder.ref(call, 0), builder.ref(call, 1)])


@converts("BatchNormalization")
def batch_norm(builder: Builder, call: Call) -> None:
    """Batch norm with stored statistics."""
    found = [call.constant(i) for i in range(1, 5)]
    stored = [tensor(v) for v in found if v is not None]
    if len(stored) != 4 or call.attributes.get("training_mode", 0):
        raise builder.fail(call, "its statistics are computed, not stored.", "Export the network for inference.")
    eps = float(call.attributes.get("epsilon", 1e-5))
    if float((stored[3] + eps).min()) <= 0:
        raise builder.fail(call, "its variance is negative.", "Train or export the model again.")
    builder.emit(call, BatchNorm(stored[0], stored[1], stored[2], stored[3], eps), [call.ref()], weight=call.weight(1))


SIMPLE: dict[str, type[Operator]] = {
    "Relu": plain.Relu, "Sigmoid": plain.Sigmoid, "Tanh": plain.Tanh, "HardSwish": plain.HardSwish,
    "GlobalAveragePool": plain.GlobalAveragePool,
}  # fmt: skip
JOINS: dict[str, type[Operator]] = {"Add": plain.Add, "Sub": plain.Sub, "Mul": plain.Mul, "Div": plain.Div}


@converts(*SIMPLE)
def simple(builder: Builder, call: Call) -> None:
    """Operators without settings."""
    builder.emit(call, SIMPLE[call.node.op_type](), [call.ref()])


@converts(*JOINS)
def join(builder: Builder, call: Call) -> None:
    """Two tensors, value by value; one of them may be a constant."""
    a, b = builder.ref(call, 0), builder.ref(call, 1)
    builder.check_size(call, np.broadcast_shapes(a.shape, b.shape))
    builder.emit(call, JOINS[call.node.op_type](), [a, b])


@converts("Sum")
def total(builder: Builder, call: Call) -> None:
    """Sum of one or two tensors."""
    if len(call.inputs) == 1:
        builder.values[call.node.output[0]] = call.inputs[0]
    elif len(call.inputs) == 2:
        join_as = plain.Add()
        builder.emit(call, join_as, [builder.ref(call, 0), builder.ref(call, 1)])
    else:
        raise builder.fail(call, f"a sum of {len(call.inputs)} tensors is not supported.", "Add them two by two.")


@converts("LeakyRelu", "HardSigmoid", "PRelu", "Clip", "Softmax")
def activation(builder: Builder, call: Call) -> None:
    """Activations with settings."""
    kind, t, x = call.node.op_type, call.attributes, call.ref()
    if kind == "LeakyRelu":
        operator: Operator = plain.LeakyRelu(float(t.get("alpha", 0.01)))
    elif kind == "HardSigmoid":
        operator = plain.HardSigmoid(float(t.get("alpha", 0.2)), float(t.get("beta", 0.5)))
    elif kind == "PRelu":
        slope = call.constant(1)
        if slope is None:
            raise builder.fail(call, "its slope is computed, not stored.")
        operator = plain.Prelu(tensor(slope))
    elif kind == "Softmax":
        axis = t.get("axis", 1 if call.opset < 13 else -1) % len(x.shape)
        if call.opset < 13 and math.prod(x.shape[axis + 1 :]) > 1:
            raise builder.fail(call, "it runs over several axes at once.", "Export it with opset 13 or newer.")
        operator = plain.Softmax(axis)
    else:
        low, high = (_bound(builder, call, name, i) for i, name in ((1, "min"), (2, "max")))
        operator = plain.Clip(-math.inf if low is None else low, math.inf if high is None else high)
        if (operator.low, operator.high) == (0.0, math.inf):
            operator = plain.Relu()
    builder.emit(call, operator, [x])


def _bound(builder: Builder, call: Call, name: str, i: int) -> float | None:
    if name in call.attributes:
        return float(call.attributes[name])
    value = call.constant(i)
    if value is None and i < len(call.inputs) and call.inputs[i] is not None:
        raise builder.fail(call, "its bounds are computed, not stored.")
    return None if value is None else float(np.ravel(value)[0])


@converts("MaxPool", "AveragePool")
def pool(builder: Builder, call: Call) -> None:
    """Largest or mean value of a window."""
    x, kernel = call.ref(), call.attributes["kernel_shape"]
    rank = len(kernel)
    stride = call.attributes.get("strides", [1] * rank)
    dilation = call.attributes.get("dilations", [1] * rank)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = pads_of(call, x.shape[2:], reach, stride)
    ceil = bool(call.attributes.get("ceil_mode", 0))
    if rank not in (1, 2):
        raise builder.fail(call, f"pooling over {rank} axes is not supported.", "Use 1d or 2d pooling.")
    if call.node.op_type == "MaxPool":
        if len(call.node.output) > 1 and call.node.output[1]:
            raise builder.fail(call, "the places of the largest values are not supported.")
        operator: Operator = plain.MaxPool(kernel, stride, pads, ceil, dilation)
    else:
        count = bool(call.attributes.get("count_include_pad", 0))
        operator = plain.AveragePool(kernel, stride, pads, ceil, count)
    builder.emit(call, operator, [x])


@converts("ReduceMean")
def reduce_mean(builder: Builder, call: Call) -> None:
    """Mean over axes; over all spatial ones it is global pooling."""
    x = call.ref()
    rank = len(x.shape)
    given = axes_of(call.inputs, call.attributes)  # type: ignore[arg-type]
    if not given and call.attributes.get("noop_with_empty_axes", 0):
        builder.values[call.node.output[0]] = x
        return
    axes = sorted(a % rank for a in given or range(rank))
    keep = bool(call.attributes.get("keepdims", 1))
    if 0 in axes:
        raise builder.fail(call, "a mean over the batch is not supported.", "Average over places or channels only.")
    if axes == list(range(2, rank)) and keep:
        builder.emit(call, plain.GlobalAveragePool(), [x])
    else:
        builder.emit(call, plain.ReduceMean(axes, keep), [x])
