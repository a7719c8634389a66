"""`model-float.onnx`: the cut and factored network in float32, to go on elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from studio import runtimes
from studio.export.targets._base import Refusal, Stored, weight_bytes, wider
from studio.lowering.program import Operation, Program


class OnnxFloatTarget:
    """Plain float32 ONNX: what the plan's rewrites and pruning leave, under the network's own names."""

    name: ClassVar[str] = "onnx-float"
    title: ClassVar[str] = "ONNX float32"
    file_name: ClassVar[str] = "model-float.onnx"
    help: ClassVar[str] = "The cut, factored and pruned network in float32, to go on with in other tools."
    in_float: ClassVar[bool] = True

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """Everything, in float32."""
        from studio.export._onnx.support import kernel

        container = "float32" if operation.weight is not None else ""
        return Stored(container, weight_bytes(operation), kernel(operation, program), wider(operation, container))

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""
        from studio.export._onnx.writer import write

        return write(program, description=description)

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back: weights against the program."""
        from studio.export._onnx.read_back import differences

        return differences(content, program, "int8")

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Float products do not saturate."""
        return None

    def open(self, path: Path, program: Program) -> runtimes.Runner:
        """Open in ONNX Runtime."""
        return runtimes.open(path)

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Python that runs the file."""
        return (
            "import onnxruntime as ort\n"
            f'session = ort.InferenceSession("{self.file_name}")\n'
            f"# x: float32 {description['input']['shape']}, preprocessed as the manifest says\n"
            f'outputs = session.run(None, {{"{description["input"]["name"]}": x}})\n'
        )


TARGET = OnnxFloatTarget()
