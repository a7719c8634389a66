"""`model.onnx`: QDQ int8 for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from studio.export.targets._base import Refusal, Stored, weight_bytes, wider
from studio.lowering.program import Operation, Program

KERNELS = {
    "conv": "QLinearConv", "linear": "QGemm", "add": "QLinearAdd", "mul": "QLinearMul", "concat": "QLinearConcat",
    "global_average_pool": "QLinearGlobalAveragePool", "average_pool": "QLinearAveragePool",
    "softmax": "QLinearSoftmax", "sigmoid": "QLinearSigmoid", "leaky_relu": "QLinearLeakyRelu",
}  # fmt: skip
MOVES = ("max_pool", "reshape", "transpose", "slice", "resize", "gather", "expand", "pad")
"""Kinds that ONNX Runtime runs on the integers themselves."""
RISK = (
    "Processors without VNNI (before AMD Zen 4, older Intel) saturate uint8 x int8 products: set the session option "
    "session.x64quantprecision=1, or export with the option onnx_weights=uint8."
)


class OnnxTarget:
    """QDQ ONNX with uint8 activations: the form that ONNX Runtime runs in integer kernels throughout."""

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX QDQ int8"
    file_name: ClassVar[str] = "model.onnx"
    help: ClassVar[str] = "ONNX Runtime: uint8 activations, int8 weights per channel, int32 biases."

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """What lies in the file and what runs; nothing that lowers is refused."""
        container = (options or {}).get("onnx_weights", "int8") if operation.weights is not None else "float32"
        if operation.weights is None and operation.weight is None:
            container = ""
        return Stored(container, weight_bytes(operation), _kernel(operation), wider(operation))

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""
        from studio.export._onnx.writer import write

        return write(program, description, options.get("onnx_weights", "int8"))

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back and compare integers, scales and zero points with the program."""
        from studio.export._onnx.read_back import differences

        return differences(content, program, options.get("onnx_weights", "int8"))

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Warn where two neighbouring int8 weights can pass 16 bits when both inputs are 255."""
        if options.get("onnx_weights", "int8") == "uint8":
            return None
        risky = any(_saturates(op.weights.q) for op in program.operations if op.weights is not None)
        return RISK if risky else None

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Python that runs the file."""
        return (
            "import onnxruntime as ort\n"
            "options = ort.SessionOptions()\n"
            'options.add_session_config_entry("session.x64quantprecision", "1")\n'
            'session = ort.InferenceSession("model.onnx", options)\n'
            f"# x: float32 {description['input']['shape']}, preprocessed as the manifest says\n"
            f'outputs = session.run(None, {{"{description["input"]["name"]}": x}})\n'
        )


def _kernel(operation: Operation) -> str:
    if operation.kind in ("quantize", "dequantize", "requantize"):
        return "conversion"
    if not operation.integer:
        return f"float kernel ({operation.kind})"
    if operation.kind in KERNELS:
        return f"integer kernel {KERNELS[operation.kind]}"
    if operation.kind in MOVES or operation.kind in ("relu", "clip"):
        return "moves the integers"
    return f"float kernel ({operation.kind}) between conversions"


def _saturates(q: np.ndarray) -> bool:
    """True where |w1| + |w2| > 128 for neighbours along the summed axis, in the orders that kernels use."""
    rows = np.abs(q.astype(np.int32)).reshape(len(q), -1)
    channels_last = np.abs(np.moveaxis(q.astype(np.int32), 1, -1)).reshape(len(q), -1) if q.ndim > 2 else rows
    return any(bool((r[:, :-1] + r[:, 1:] > 128).any()) for r in (rows, channels_last) if r.shape[1] > 1)


TARGET = OnnxTarget()
