"""Files in their real runtimes."""

from __future__ import annotations

from pathlib import Path

from studio.runtimes._base import Runner

__all__ = ["Runner", "open"]


def open(path: Path | str, *, factory: str | None = None, trust: bool = False) -> Runner:  # noqa: A001
    """Open a file in the runtime it is made for, any other readable model in torch.

    `factory`: code that makes the module of a state dict, run only with `trust`.
    Raises FileError or ModelError that names file, place and remedy.
    """
    from studio.formats import check, read

    path = Path(path).expanduser()
    check(path)
    if factory is not None:
        from studio.formats import _factory
        from studio.runtimes.torch import TorchRunner

        return TorchRunner(_factory.from_factory(path, factory, trust=trust, input_shape=None))
    if path.suffix.lower() == ".onnx":
        from studio.runtimes.onnxruntime import OnnxRunner

        return OnnxRunner(path)
    if path.suffix.lower() == ".tflite":
        from studio.runtimes.litert import LiteRtRunner

        return LiteRtRunner(path)
    if path.suffix.lower() == ".ecs":
        from studio.runtimes.packed import PackedRunner

        return PackedRunner(path)
    network = read(path)
    from studio.runtimes.torch import TorchRunner

    return TorchRunner(network)
