"""Model files, one reader a format. `read` picks by the file's name and looks inside first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import registry
from studio.core.errors import FileError, ModelError
from studio.formats import _quantized

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
WEIGHTS = (".pt", ".pth", ".th", ".tar", ".safetensors")
ARRAYS = (".npz", ".npy")
FACTORY = " Or say what makes its module: --factory package.module:function --trust."
"""Remedy for files that can hold a state dict."""
MAGIC = ((".pt", 0, b"PK\x03\x04"), (".h5", 0, b"\x89HDF\r\n\x1a\n"), (".tflite", 4, b"TFL3"))
"""Format, place of its mark, and the mark: files that were renamed."""
ALIKE = {".pt": (".pt", ".pth", ".th", ".pt2", ".tar", ".keras", ".npz"), ".h5": (".h5", ".keras")}
"""Endings that files with the same mark rightly have."""


def read(path: Path) -> Network:
    """Read a model file; raises FileError or ModelError that names file, place and remedy."""
    path = Path(path).expanduser()
    check(path)
    suffix = _kind(path)
    for name in registry.names("formats"):
        reader = registry.find("formats", name)
        if suffix in reader.suffixes:
            network: Network = reader.read(path)
            return network
    if suffix == ".tflite" and _quantized.is_quantized_tflite(path):
        remedy = "Open the float model that it was made from; quantized files cannot be read yet."
        raise ModelError("the file is already quantized.", where=str(path), remedy=remedy)
    if suffix in OTHERS:
        found = suffix if suffix == path.suffix.lower() else f"holds {suffix} content, and {suffix}"
        remedy = f"Convert it: {OTHERS[suffix]}.{FACTORY if suffix in WEIGHTS else ''}"
        raise FileError(f"{found} files cannot be opened.", where=str(path), remedy=remedy)
    if suffix in ARRAYS:
        remedy = "Give an .onnx file here, and samples as data (--data, --train-data)."
        raise FileError("holds arrays, which are data and no network.", where=str(path), remedy=remedy)
    raise FileError("is no model file that is known.", where=str(path), remedy="Give an .onnx file.")


def _kind(path: Path) -> str:
    """Ending of the file's format: what its first bytes say, else its own."""
    with path.open("rb") as file:
        start = file.read(8)
    for suffix, place, magic in MAGIC:
        if start[place : place + len(magic)] == magic and path.suffix.lower() not in ALIKE.get(suffix, (suffix,)):
            return suffix
    return path.suffix.lower()


def check(path: Path) -> None:
    """Raise FileError for what is no readable file with content: missing, folder, empty, Git-LFS pointer."""
    try:
        if not path.exists():
            raise FileError("there is no such file.", where=str(path), remedy="Check the path.")
        if path.is_dir():
            raise FileError("is a folder, not a model file.", where=str(path), remedy="Give the file inside it.")
        if not path.is_file():
            # Opening a pipe would wait for ever.
            raise FileError("is no ordinary file.", where=str(path), remedy="Give the path of a model file.")
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        raise FileError(
            f"cannot be read ({error.strerror}).", where=str(path), remedy="Check its path and rights."
        ) from None
    if not start:
        raise FileError("is empty.", where=str(path), remedy="Export or download it again.")
    if start.startswith(b"version https://git-lfs"):
        remedy = "Fetch the real file with `git lfs pull`."
        raise FileError("is a Git-LFS pointer, not the model itself.", where=str(path), remedy=remedy)
