"""Model files, one reader a format. `read` picks by the file's name and looks inside first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import registry
from studio.core.errors import FileError

if TYPE_CHECKING:
    from studio.network.network import Network

OTHERS = {
    ".pt2": "torch.onnx.export(program, dynamo=True).save('model.onnx')",
    ".pt": "torch.onnx.export(torch.jit.load('model.pt'), (x,), 'model.onnx', dynamo=False)",
    ".pth": "torch.onnx.export(model, (x,), 'model.onnx')",
    ".th": "torch.onnx.export(model, (x,), 'model.onnx')",
    ".tar": "torch.onnx.export(model, (x,), 'model.onnx')",
    ".safetensors": "torch.onnx.export(model, (x,), 'model.onnx')",
    ".tflite": "python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
    ".h5": "python -m tf2onnx.convert --keras model.h5 --output model.onnx",
    ".keras": "python -m tf2onnx.convert --keras model.keras --output model.onnx",
}
"""Formats that are known but not read, with the conversion to type."""


def read(path: Path) -> Network:
    """Read a model file; raises FileError or ModelError that names file, place and remedy."""
    path = Path(path).expanduser()
    check(path)
    for name in registry.names("formats"):
        reader = registry.find("formats", name)
        if path.suffix.lower() in reader.suffixes:
            network: Network = reader.read(path)
            return network
    if path.suffix.lower() in OTHERS:
        remedy = f"Convert it: {OTHERS[path.suffix.lower()]}."
        raise FileError(f"{path.suffix} files cannot be opened.", where=str(path), remedy=remedy)
    raise FileError("is no model file that is known.", where=str(path), remedy="Give an .onnx file.")


def check(path: Path) -> None:
    """Raise FileError for what is no readable file with content: missing, folder, empty, Git-LFS pointer."""
    if not path.exists():
        raise FileError("there is no such file.", where=str(path), remedy="Check the path.")
    if path.is_dir():
        raise FileError("is a folder, not a model file.", where=str(path), remedy="Give the file inside it.")
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror}).", where=str(path), remedy="Check its rights.") from None
    if not start:
        raise FileError("is empty.", where=str(path), remedy="Export or download it again.")
    if start.startswith(b"version https://git-lfs"):
        remedy = "Fetch the real file with `git lfs pull`."
        raise FileError("is a Git-LFS pointer, not the model itself.", where=str(path), remedy=remedy)
