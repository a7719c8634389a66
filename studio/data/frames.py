"""Frames for selective attention: whole pictures with the boxes of what is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from studio.core.errors import DataError, FileError
from studio.data import annotated, folder, npz, pictures
from studio.data.annotated import Box
from studio.data.archive import Archive
from studio.data.sources import integer_labels

__all__ = ["Box", "Frames", "open_frames"]


class Frames:
    """Frames by number: uint8 (H, W, 3) each, with boxes clipped to the frame; degenerate ones are dropped."""

    def __init__(
        self, path: Path, sizes: Sequence[tuple[int, int]], boxes: Sequence[Sequence[Box]],
        frame: Callable[[int], np.ndarray], labels: np.ndarray | None, classes: tuple[str, ...] | None,
    ) -> None:  # fmt: skip
        """`sizes`: height and width of each frame; `classes`: names for `labels`, else for the boxes."""
        self.name = path.name
        self.source = str(path)
        self.count = len(sizes)
        self.labels = labels
        self._sizes = sizes
        self._frame = frame
        self._boxes = [clip(row, size) for row, size in zip(boxes, sizes, strict=True)]
        self.dropped = sum(map(len, boxes)) - sum(map(len, self._boxes))
        self.classes = classes or _sorted({box.label for row in self._boxes for box in row})

    def frame(self, i: int) -> np.ndarray:
        """Frame i as uint8 (H, W, 3), RGB; raises DataError that names a picture which cannot be decoded."""
        return self._frame(i)

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of frame i in pixels."""
        return self._sizes[i]

    def boxes(self, i: int, label: str | None = None) -> list[Box]:
        """Boxes of frame i, all or those of one class."""
        return [box for box in self._boxes[i] if label in (None, box.label)]


def open_frames(source: Path | str, label: str | None = None) -> Frames:
    """Open a folder of pictures with annotations.json (or without: no boxes), or an .npz of frames.

    The .npz holds `frames` uint8 (N, H, W, 3), `boxes` int (N, 4) xyxy (-1 for none), and optionally
    `y` (N,) and `classes`. `label`: the field of annotations.json that labels the picture; several
    candidates leave the frames without labels, for boxes need none. Raises FileError or DataError.
    """
    path = Path(source).expanduser().resolve()
    if path.name == annotated.FILE:
        path = path.parent
    return _folder(path, label) if path.is_dir() else _npz(path)


def clip(boxes: Sequence[Box], size: tuple[int, int]) -> list[Box]:
    """Boxes cut to a frame of (height, width); those with no area left are dropped."""
    found = []
    for box in boxes:
        left, right = (min(max(v, 0.0), float(size[1])) for v in (box.xyxy[0], box.xyxy[2]))
        top, bottom = (min(max(v, 0.0), float(size[0])) for v in (box.xyxy[1], box.xyxy[3]))
        if right > left and bottom > top:
            found.append(Box((left, top, right, bottom), box.label))
    return found


def _sorted(names: set[str]) -> tuple[str, ...]:
    """Return names in order, numbers by their size."""
    return tuple(sorted(names, key=lambda n: (0, int(n), n) if n.isascii() and n.isdigit() else (1, 0, n)))


def _folder(path: Path, label: str | None) -> Frames:
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    if (path / annotated.FILE).exists():
        found = annotated.read(path)
        files, boxes = [e.path for e in found.entries], [e.boxes for e in found.entries]
        if label is not None or len(annotated.label_fields(found.entries)) == 1:
            labels, classes = annotated.picture_labels(found, label)
    else:
        files = folder.pictures_in(path)
        boxes = [() for _ in files]
        if not files:
            remedy = "Give a folder of pictures, best with annotations.json for the boxes."
            raise DataError("there are no pictures in this folder.", where=str(path), remedy=remedy)
    sizes = [_size(file) for file in files]
    boxes_named = any(boxes) and classes is not None and {b.label for row in boxes for b in row} <= set(classes)

    content = folder.from_files(path, files, None, None).content

    def frame(i: int) -> np.ndarray:
        return np.asarray(pictures.decode(content(i), str(files[i])).convert("RGB"))

    return Frames(path, sizes, boxes, frame, labels, classes if boxes_named else None)


def _size(file: Path) -> tuple[int, int]:
    """Height and width from the picture's header; the rest is not decoded."""
    try:
        with Image.open(file, formats=pictures.KINDS) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        remedy = "Replace or remove this picture."
        raise DataError("the picture cannot be decoded.", where=str(file), remedy=remedy) from None


def _npz(path: Path) -> Frames:
    archive, where = Archive(path), str(path)
    if "frames" not in archive or "boxes" not in archive:
        remedy = "It needs 'frames' uint8 (N, H, W, 3) and 'boxes' (N, 4), or give a folder with annotations.json."
        raise FileError("holds no frames with boxes.", where=where, remedy=remedy)
    frames, corners = archive.array("frames"), archive.array("boxes")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        what = f"'frames' is {frames.dtype} of shape {frames.shape}."
        raise DataError(what, where=where, remedy="Save them as uint8 (N, H, W, 3).")
    if corners.dtype.kind not in "iu" or corners.shape != (len(frames), 4):
        what = f"'boxes' is {corners.dtype} of shape {corners.shape} for {len(frames)} frames."
        raise DataError(what, where=where, remedy="Save one box of whole numbers, left top right bottom, a frame.")
    labels = integer_labels(archive.array("y"), len(frames), where) if "y" in archive else None
    classes = npz.class_names(archive)
    names = _names(labels, classes, len(frames))
    boxes = [_one(row, name) for row, name in zip(corners.tolist(), names, strict=True)]
    return Frames(path, [frames.shape[1:3]] * len(frames), boxes, lambda i: frames[i], labels, classes)


def _one(corners: list[int], label: str) -> list[Box]:
    """Return the one box of a frame, or none where all corners are -1."""
    left, top, right, bottom = map(float, corners)
    return [] if corners == [-1, -1, -1, -1] else [Box((left, top, right, bottom), label)]


def _names(labels: np.ndarray | None, classes: tuple[str, ...] | None, count: int) -> list[str]:
    """Return the name of each frame's class: from `classes`, else its number, else "object"."""
    if labels is None:
        return ["object"] * count
    known = classes or ()
    return [known[y] if 0 <= y < len(known) else str(y) for y in labels.tolist()]
