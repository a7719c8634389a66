"""`model.onnx`: QDQ int8 for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from studio import runtimes
from studio.export.targets._base import Refusal, Stored, wider
from studio.lowering.program import Operation, Program

CONTAINERS = ("int8", "uint8")
"""Values of the option `onnx_weights`."""
RISK = (
    "Processors with AVX2 but without VNNI (before AMD Zen 4, older Intel) saturate uint8 x int8 products: set the "
    "session option session.x64quantprecision=1, or export with the option onnx_weights=uint8."
)


class OnnxTarget:
    """QDQ ONNX with uint8 activations: the form that ONNX Runtime runs in integer kernels throughout."""

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX QDQ int8"
    file_name: ClassVar[str] = "model.onnx"
    help: ClassVar[str] = "ONNX Runtime: uint8 activations, int8 or INT4 weights per channel, int32 biases."
    in_float: ClassVar[bool] = False

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """What lies in the file and what runs; around 16-bit tensors that is float."""
        from studio.export._onnx.support import kernel
        from studio.export._onnx.weights import stored

        found = stored(operation, program, _container(options))
        container = "" if found is None else found.weight.dtype.name
        size = sum(array.nbytes for array in operation.constants.values()) if found is None else found.bytes
        return Stored(container, size, kernel(operation, program), wider(operation, container))

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""
        from studio.export._onnx.writer import write

        return write(program, description=description, weights=_container(options))

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back: integers, scales and zero points against the program, and what runs the layers."""
        from studio.export._onnx.read_back import differences

        return differences(content, program, _container(options))

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Warn where two neighbouring int8 weights can pass 16 bits when both inputs are 255."""
        if _container(options) == "uint8":
            return None
        return RISK if saturation_risk(program) else None

    def open(self, path: Path, program: Program) -> runtimes.Runner:
        """Open in the file's own runtime."""
        return runtimes.open(path)

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


def saturation_risk(program: Program) -> bool:
    """True where an int8 kernel without VNNI can leave 16 bits: 255 * (|w1| + |w2|) above 32,767."""
    return any(_saturates(op.weights.q) for op in program.operations if op.weights is not None)


def _saturates(q: np.ndarray) -> bool:
    """True where |w1| + |w2| > 128 for neighbours along the summed axes, in the orders that kernels use."""
    rows = np.abs(q.astype(np.int32)).reshape(len(q), -1)
    channels_last = np.abs(np.moveaxis(q.astype(np.int32), 1, -1)).reshape(len(q), -1) if q.ndim > 2 else rows
    return any(bool((r[:, :-1] + r[:, 1:] > 128).any()) for r in (rows, channels_last) if r.shape[1] > 1)


def _container(options: Mapping[str, Any] | None) -> str:
    container = (options or {}).get("onnx_weights", CONTAINERS[0])
    if container not in CONTAINERS:
        from studio.core.errors import ExportError

        remedy = f"Choose {' or '.join(CONTAINERS)}."
        raise ExportError(f"'{container}' is no container for weights.", where="onnx_weights", remedy=remedy)
    return str(container)


TARGET = OnnxTarget()
