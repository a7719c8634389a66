"""One ONNX operator for each kind of operation, as it computes in float between Q and DQ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.lowering.program import Operation

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class OnnxOperator:
    """Type, attributes and constant inputs (None = left out) behind the computed ones."""

    type: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[np.ndarray | None, ...] = ()


def _ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _float(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


def _conv(s: Settings) -> OnnxOperator:
    attributes = {"strides": s["stride"], "pads": s["pads"], "dilations": s["dilation"], "group": s["groups"]}
    return OnnxOperator("Conv", attributes)


def _conv_transpose(s: Settings) -> OnnxOperator:
    return OnnxOperator("ConvTranspose", {**_conv(s).attributes, "output_padding": s["output_padding"]})


def _pool(s: Settings) -> dict[str, Any]:
    return {"kernel_shape": s["kernel"], "strides": s["stride"], "pads": s["pads"], "ceil_mode": int(s["ceil"])}


def _clip(s: Settings) -> OnnxOperator:
    low, high = (None if np.isinf(s[k]) else _float(s[k]) for k in ("low", "high"))
    return OnnxOperator("Clip", {}, (low, high))


def _slice(s: Settings) -> OnnxOperator:
    lowest = np.iinfo(np.int64).min
    ends = [lowest if end < 0 else end for end in s["ends"]]
    return OnnxOperator("Slice", {}, (_ints(*s["starts"]), _ints(*ends), _ints(*s["axes"]), _ints(*s["steps"])))


def _pad(s: Settings) -> OnnxOperator:
    return OnnxOperator("Pad", {"mode": s["mode"]}, (_ints(*s["pads"]), _float(s["value"])))


def _reshape(s: Settings) -> OnnxOperator:
    shape = (-1, *s["shape"]) if s["keep_batch"] else s["shape"]
    return OnnxOperator("Reshape", {}, (_ints(*shape),))


def _resize(s: Settings) -> OnnxOperator:
    attributes = {"mode": s["mode"], "coordinate_transformation_mode": s["coordinates"]}
    if s["mode"] == "nearest":
        attributes["nearest_mode"] = s["nearest"]
    scales = np.array([1, 1, *s["scale"]], dtype=np.float32)
    return OnnxOperator("Resize", attributes, (None, scales))


def _named(name: str, **renamed: str) -> Callable[[Settings], OnnxOperator]:
    """Operator whose attributes are settings under other names."""
    return lambda s: OnnxOperator(name, {onnx: s[ours] for ours, onnx in renamed.items()})


KINDS: dict[str, Callable[[Settings], OnnxOperator]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "matmul": _named("MatMul"),
    "relu": _named("Relu"),
    "leaky_relu": _named("LeakyRelu", slope="alpha"),
    "clip": _clip,
    "sigmoid": _named("Sigmoid"),
    "hard_sigmoid": _named("HardSigmoid", alpha="alpha", beta="beta"),
    "hard_swish": _named("HardSwish"),
    "tanh": _named("Tanh"),
    "softmax": _named("Softmax", axis="axis"),
    "add": _named("Add"),
    "sub": _named("Sub"),
    "mul": _named("Mul"),
    "div": _named("Div"),
    "max_pool": lambda s: OnnxOperator("MaxPool", {**_pool(s), "dilations": s["dilation"]}),
    "average_pool": lambda s: OnnxOperator("AveragePool", {**_pool(s), "count_include_pad": int(s["count_pads"])}),
    "global_average_pool": _named("GlobalAveragePool"),
    "reduce_mean": lambda s: OnnxOperator("ReduceMean", {"axes": s["axes"], "keepdims": int(s["keep"])}),
    "concat": _named("Concat", axis="axis"),
    "slice": _slice,
    "pad": _pad,
    "reshape": _reshape,
    "transpose": _named("Transpose", order="perm"),
    "resize": _resize,
    "expand": lambda s: OnnxOperator("Expand", {}, (_ints(1, *s["shape"]),)),
}


def operator(operation: Operation, newer: bool = False) -> OnnxOperator:
    """ONNX operator of an operation without its weights; `newer`: as from opset 18 on."""
    if newer and operation.kind == "reduce_mean":
        # The axes became an input.
        settings = operation.settings
        return OnnxOperator("ReduceMean", {"keepdims": int(settings["keep"])}, (_ints(*settings["axes"]),))
    if operation.kind == "gather":
        return OnnxOperator("Gather", {"axis": operation.settings["axis"]}, (operation.constants["indices"],))
    if operation.kind == "prelu":
        return OnnxOperator("PRelu", {}, (operation.constants["slope"],))
    if operation.kind == "batch_norm":
        stored = tuple(operation.constants[name] for name in ("scale", "shift", "mean", "var"))
        return OnnxOperator("BatchNormalization", {"epsilon": operation.settings["eps"]}, stored)
    return KINDS[operation.kind](operation.settings)
