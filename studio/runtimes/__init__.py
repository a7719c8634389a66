"""Files in their real runtimes."""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import FileError
from studio.runtimes._base import Runner

__all__ = ["Runner", "open"]


def open(path: Path | str) -> Runner:  # noqa: A001
    """Open a file in the runtime it is made for; raises FileError or ModelError."""
    from studio.formats import check

    path = Path(path).expanduser()
    check(path)
    if path.suffix == ".onnx":
        from studio.runtimes.onnxruntime import OnnxRunner

        return OnnxRunner(path)
    if path.suffix == ".tflite":
        from studio.runtimes.litert import LiteRtRunner

        return LiteRtRunner(path)
    raise FileError("is no file that a runtime here takes.", where=str(path), remedy="Give an .onnx or .tflite file.")
