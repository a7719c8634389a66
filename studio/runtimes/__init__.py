"""Files in their real runtimes."""

from __future__ import annotations

from pathlib import Path

from studio.runtimes._base import Runner

__all__ = ["Runner", "open"]


def open(path: Path | str) -> Runner:  # noqa: A001
    """Open a file in the runtime it is made for, any other readable model in torch.

    Raises FileError or ModelError that names file, place and remedy.
    """
    from studio.formats import check, read

    path = Path(path).expanduser()
    check(path)
    if path.suffix.lower() == ".onnx":
        from studio.runtimes.onnxruntime import OnnxRunner

        return OnnxRunner(path)
    if path.suffix.lower() == ".tflite":
        from studio.runtimes.litert import LiteRtRunner

        return LiteRtRunner(path)
    network = read(path)
    from studio.runtimes.torch import TorchRunner

    return TorchRunner(network)
