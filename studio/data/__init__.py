"""Data sets: `open` reads any of the forms that the interface names, for one network's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.code import names_code
from studio.core.errors import DataError, FileError
from studio.data import folder, idx, made, npz
from studio.data.annotated import FILE
from studio.data.archive import check_file
from studio.data.dataset import Dataset
from studio.data.fit import prepare
from studio.data.preprocess import Preprocess, load
from studio.data.sources import Source

__all__ = ["Dataset", "Preprocess", "check_labels", "open", "prepare"]


def open(  # noqa: A001
    source: Path | str,
    *,
    input_shape: Sequence[int],
    preprocess: Mapping[str, Any] | Path | str | None = None,
    label: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    plan_preprocess: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Dataset:
    """Open an .npz, a folder of pictures, an idx pair or what code makes, for a network.

    `input_shape`: the network's, with a batch of 1. `preprocess`: keys or a file; they win over the
    keys of the data file, and those over `plan_preprocess`. `label`: the field of annotations.json
    that is the picture's label. `samples`: a seeded draw of so many, by class where labels exist.
    `trust`: run `source` where it is "package.module:function".
    Raises FileError or DataError that names file, place and remedy.
    """
    found = _read(source, label, trust)
    path = found.path
    explicit: Mapping[str, Any] = {}
    if preprocess is not None:
        explicit = preprocess if isinstance(preprocess, Mapping) else load(Path(preprocess).expanduser())
        Preprocess.from_json(explicit, "preprocess" if isinstance(preprocess, Mapping) else str(preprocess))
    Preprocess.from_json(found.stored, str(path))
    Preprocess.from_json(plan_preprocess or {}, "plan: preprocess")
    resolved = Preprocess.from_json({**(plan_preprocess or {}), **found.stored, **explicit}, str(path))
    return Dataset(found, input_shape, resolved, samples, seed)


def check_labels(dataset: Dataset, classes: int) -> None:
    """Raise DataError where a label is no class number of a network with so many classes."""
    if dataset.labels is None:
        return
    bad = (dataset.labels < 0) | (dataset.labels >= classes)
    if bad.any():
        i = int(bad.argmax())
        what = f"the label of sample {i} is {int(dataset.labels[i])}, but the network has {classes} classes."
        remedy = f"Labels count from 0 to {classes - 1}: give data made for this network, or correct the labels."
        raise DataError(what, where=dataset.source, remedy=remedy)


def _read(source: Path | str, label: str | None, trust: bool) -> Source:
    if isinstance(source, str) and names_code(source):
        return made.read(source, label, trust=trust)
    path = Path(source).expanduser().resolve()
    if path.is_dir():
        return folder.read(path, label)
    check_file(path)
    if idx.is_idx(path):
        return idx.read(path)
    if path.suffix.lower() == ".npz" or _is_zip(path):
        return npz.read(path, label)
    if path.name == FILE:
        return folder.read(path.parent, label)
    remedy = "Give an .npz with 'x' and 'y', a folder of pictures, an idx file, or package.module:function."
    raise FileError("is not a kind of data that can be read.", where=str(path), remedy=remedy)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
