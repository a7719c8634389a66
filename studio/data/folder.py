"""Folders of pictures: class folders, `annotations.json`, or plain pictures without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studio.core.errors import DataError, FileError
from studio.data import annotated
from studio.data.sources import PICTURE_SUFFIXES, Pictures, number_labels

LIMIT = 1 << 30
"""Largest picture file in bytes."""


def read(path: Path, label: str | None = None) -> Pictures:
    """Pictures of a folder; raises DataError for an empty one and for annotations that do not fit."""
    if (path / annotated.FILE).exists():
        found = annotated.read(path)
        labels, classes = annotated.picture_labels(found, label)
        return from_files(path, [entry.path for entry in found.entries], labels, classes)
    plain, groups = _listed(path)
    files = [file for _, group in groups for file in group]
    if files and plain:
        remedy = "Move them into a class folder, or remove them."
        what = f"{len(plain)} pictures lie beside the class folders (the first: {plain[0].name})."
        raise DataError(what, where=str(path), remedy=remedy)
    if not files and not plain:
        remedy = "Give a folder that holds one folder of pictures for each class, or pictures and annotations.json."
        raise DataError("there are no pictures in this folder.", where=str(path), remedy=remedy)
    if plain:
        return from_files(path, plain, None, None)
    labels, classes = number_labels([name for name, group in groups for _ in group])
    return from_files(path, files, labels, classes)


def _listed(path: Path) -> tuple[list[Path], list[tuple[str, list[Path]]]]:
    """Pictures directly in a folder, and those of each class folder by its name."""
    try:
        folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        inner = next((f for f in folders if (f / annotated.FILE).exists()), None)
        if inner is not None:
            what = f"'{inner.name}' is a set with annotations.json, not a class."
            raise DataError(what, where=str(path), remedy=f"Open {inner} itself.")
        return pictures_in(path), [(folder.name, pictures_in(folder)) for folder in folders]
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be read ({reason}).", where=str(path), remedy="Check its permissions.") from None


def pictures_in(folder: Path) -> list[Path]:
    """Picture files directly in a folder, sorted by name."""
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file() and p.name[0] != "."
    )


def from_files(
    folder: Path, files: Sequence[Path], labels: np.ndarray | None, classes: tuple[str, ...] | None
) -> Pictures:
    """Pictures that lie in single files; their sizes and times go into the content id."""
    stamp = hashlib.sha256()
    for file in files:
        status = file.stat()
        if status.st_size > LIMIT:
            raise DataError("is too large for a picture.", where=str(file), remedy="Remove it.")
        stamp.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())

    def content(i: int) -> bytes:
        try:
            return files[i].read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"cannot be read ({reason}).", where=str(files[i]), remedy="Open the data again.") from None

    return Pictures(
        folder, len(files), content, lambda i: str(files[i]), labels, classes, stamp=stamp.hexdigest()
    )  # fmt: skip
