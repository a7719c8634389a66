"""`annotations.json` of a picture folder: a list of entries, or COCO.

Its content is a stranger's: paths must stay inside the folder, numbers must be finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from studio.core.errors import DataError, FileError
from studio.data.sources import number_labels

FILE = "annotations.json"
LIMIT = 1 << 30
"""Largest annotations.json in bytes."""
NO_LABELS = frozenset(
    "file file_name filename path url coco_url flickr_url source license date_captured id image_id width height depth"
    " mode boxes roi_xyxy".split()
)
"""Keys of an entry that describe the picture and are never its label."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left, top, right, bottom (right and bottom outside), with its label."""

    xyxy: tuple[float, float, float, float]
    label: str


@dataclass(frozen=True)
class Entry:
    """One picture: its file, all that is said about it, its boxes as written."""

    path: Path
    fields: Mapping[str, Any]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Annotations:
    """All entries in the file's order; `categories` are the class names of a COCO file."""

    path: Path
    entries: tuple[Entry, ...]
    categories: tuple[str, ...] | None = field(default=None)


def read(folder: Path) -> Annotations:
    """Read and check a folder's annotations; raises FileError or DataError."""
    path = folder / FILE
    value = _json(path)
    if isinstance(value, list):
        rows, categories = value, None
    elif isinstance(value, dict) and isinstance(value.get("images"), list):
        rows, categories = _coco(value, path)
    else:
        remedy = 'Write a list of {"file": ..., "label": ..., "boxes": [...]}, or COCO ("images", "annotations").'
        raise DataError("is neither a list of pictures nor COCO.", where=str(path), remedy=remedy)
    if not rows:
        raise DataError("names no pictures.", where=str(path), remedy="List at least one picture.")
    root = folder.resolve()
    entries = tuple(_entry(folder, root, path, i, row) for i, row in enumerate(rows))
    return Annotations(path, entries, categories)


def picture_labels(found: Annotations, label: str | None) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Labels (N,) and class names of the pictures; (None, None) where nothing could be a label.

    `label` names the field; by default it is the only candidate. Raises DataError for several
    candidates, an unknown field, a picture without label, and values of mixed kinds.
    """
    where = str(found.path)
    candidates = label_fields(found.entries)
    if label is None:
        if len(candidates) > 1:
            remedy = f"Choose one with --label: {', '.join(candidates)}."
            raise DataError("several fields could be the pictures' label.", where=where, remedy=remedy)
        if not candidates:
            return None, None
        label = candidates[0]
    elif label not in candidates and not any(label in entry.fields for entry in found.entries):
        remedy = f"Fields that could be the label: {', '.join(candidates) or 'none'}."
        raise DataError(f"no picture has a field '{label}'.", where=where, remedy=remedy)
    return _numbered(found, label, [_value(entry, label, where) for entry in found.entries])


def _numbered(found: Annotations, label: str, values: list[Any]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    kinds = {type(v) for v in values}
    if kinds == {bool}:
        return np.array(values, dtype=np.int64), (f"no {label}", label)
    if kinds == {int}:
        return np.array(values, dtype=np.int64), None
    if kinds == {str}:
        if label == "category" and found.categories:
            return np.array([found.categories.index(v) for v in values], dtype=np.int64), found.categories
        return number_labels(values)
    names = ", ".join(sorted(k.__name__ for k in kinds))
    remedy = "Write whole numbers, or true and false, or words, the same kind everywhere."
    raise DataError(f"field '{label}' holds {names}.", where=str(found.path), remedy=remedy)


def _value(entry: Entry, label: str, where: str) -> Any:
    if label not in entry.fields:
        remedy = "Give every picture a label, or choose another field with --label."
        raise DataError(f"picture '{entry.path.name}' has no '{label}'.", where=where, remedy=remedy)
    return entry.fields[label]


def label_fields(entries: Sequence[Entry]) -> list[str]:
    """Fields that could be the pictures' label: plain values that do not describe the picture itself."""
    found: dict[str, None] = {}
    for entry in entries:
        found.update(
            (k, None) for k, v in entry.fields.items() if k not in NO_LABELS and isinstance(v, bool | int | str)
        )
    return list(found)


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > LIMIT:
            raise DataError("is larger than 1 GiB.", where=str(path), remedy="Split the set.")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be read ({reason}).", where=str(path), remedy="Check the path.") from None
    except RecursionError:
        raise DataError("is nested too deeply.", where=str(path), remedy="Write a plain list of pictures.") from None
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}).", where=str(path), remedy="Save it again as UTF-8.") from None


def _coco(value: dict[str, Any], path: Path) -> tuple[list[Any], tuple[str, ...] | None]:
    """COCO -> rows of the list form; `category` is added where every picture holds one class only."""
    try:
        names = {c["id"]: str(c["name"]) for c in sorted(value.get("categories", []), key=lambda c: c["id"])}
        rows = {row["id"]: {**row, "file": row["file_name"], "boxes": []} for row in value["images"]}
        for box in value.get("annotations", []):
            x, y, w, h = box["bbox"]
            label = names.get(box["category_id"], str(box["category_id"]))
            rows[box["image_id"]]["boxes"].append({"xyxy": [x, y, x + w, y + h], "label": label})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        remedy = "Each image needs id and file_name, each annotation image_id, category_id and bbox [x, y, w, h]."
        raise DataError(f"is not whole COCO ({error!r}).", where=str(path), remedy=remedy) from None
    if all(len({box["label"] for box in row["boxes"]}) == 1 for row in rows.values()):
        for row in rows.values():
            row["category"] = row["boxes"][0]["label"]
    categories = tuple(names.values())
    complete = all(box["label"] in categories for row in rows.values() for box in row["boxes"])
    return list(rows.values()), categories if complete else None


def _entry(folder: Path, root: Path, path: Path, i: int, row: Any) -> Entry:
    where = f"{path}: entry {i}"
    name = row.get("file", row.get("file_name")) if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError("has no 'file'.", where=where, remedy="Name the picture's file in each entry.")
    file = _inside(folder, root, name, where)
    return Entry(file, row, _boxes(row, where))


def _inside(folder: Path, root: Path, name: str, where: str) -> Path:
    """Path of a named picture, in the folder or its `images`; refuses whatever leaves the folder."""
    remedy = "Pictures lie in the folder of annotations.json or in its 'images'; name them relative to it."
    plain, windows = PurePosixPath(name), PureWindowsPath(name)
    if plain.is_absolute() or windows.drive or windows.root or ".." in (*plain.parts, *windows.parts) or "\0" in name:
        raise DataError(f"the path '{name}' leaves the folder.", where=where, remedy=remedy)
    for base in (folder, folder / "images"):
        file = base / plain
        if file.is_file():
            if not file.resolve().is_relative_to(root):
                raise DataError(f"'{name}' is a link that leaves the folder.", where=where, remedy=remedy)
            return file
    raise DataError(f"the picture '{name}' is missing.", where=where, remedy=remedy)


def _boxes(row: dict[str, Any], where: str) -> tuple[Box, ...]:
    rows = row.get("boxes") or []
    if not isinstance(rows, list) or not all(isinstance(box, dict) for box in rows):
        raise DataError("'boxes' is not a list.", where=where, remedy='Write [{"xyxy": [...], "label": ...}].')
    boxes = [Box(_corners(box.get("xyxy"), where), _box_label(box)) for box in rows]
    if "roi_xyxy" in row:
        boxes.append(Box(_corners(row["roi_xyxy"], where), str(row.get("label", "roi"))))
    return tuple(boxes)


def _corners(value: Any, where: str) -> tuple[float, float, float, float]:
    good = isinstance(value, list) and len(value) == 4
    if not good or not all(isinstance(v, int | float) and math.isfinite(v) for v in value):
        remedy = "Write left, top, right, bottom in pixels."
        raise DataError(f"the box {value!r} is not four finite numbers.", where=where, remedy=remedy)
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _box_label(box: dict[str, Any]) -> str:
    """Return `label`, else the only other plain field (coco128 writes `coco80`), else "object"."""
    if "label" in box:
        return str(box["label"])
    others = [v for k, v in box.items() if k != "xyxy" and isinstance(v, int | str)]
    return str(others[0]) if len(others) == 1 else "object"
