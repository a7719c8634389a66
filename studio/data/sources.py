"""What a reader of data hands over: samples as one array, or pictures that are decoded on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.errors import DataError


@dataclass(frozen=True, eq=False)
class Arrays:
    """Samples as stored: `x` (N, ...) float32 or uint8, perhaps mapped from the file."""

    path: Path
    x: np.ndarray
    labels: np.ndarray | None = None  # (N,) int64
    classes: tuple[str, ...] | None = None
    stored: Mapping[str, Any] = field(default_factory=dict)  # preprocessing keys that the file itself gives
    layout: str | None = None  # of the data: NCHW or NHWC, where the file says so
    stamp: str = ""  # of the content, where no file has size and time

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Encoded pictures (JPEG, PNG ...): `content(i)` gives the bytes, `place(i)` the words for an error."""

    path: Path
    count: int
    content: Callable[[int], bytes]
    place: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    stored: Mapping[str, Any] = field(default_factory=dict)
    stamp: str = ""  # sizes and times of single files, or of the content, for the content id


Source = Arrays | Pictures

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def number_labels(values: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers and names for label words.

    Words that are all whole numbers ("0", "00042") are the class numbers themselves, so that a set
    that lacks some classes keeps its numbering; other words are numbered in sorted order.
    """
    if all(v.isascii() and v.isdigit() for v in values):
        numbers = np.array([int(v) for v in values], dtype=np.int64)
        return numbers, tuple(str(i) for i in range(min(int(numbers.max()), 99_999) + 1))
    names = tuple(sorted(set(values)))
    position = {name: i for i, name in enumerate(names)}
    return np.array([position[v] for v in values], dtype=np.int64), names


def integer_labels(y: np.ndarray, count: int, where: str, name: str = "y") -> np.ndarray:
    """Labels as (count,) int64; raises DataError for another shape, number or dtype."""
    if y.dtype == bool:
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        remedy = "Store one whole class number for each sample."
        raise DataError(f"'{name}' holds {y.dtype}, not whole numbers.", where=where, remedy=remedy)
    if y.ndim != 1:
        remedy = "Store one class number for each sample (for one-hot rows: y.argmax(1))."
        raise DataError(f"'{name}' has shape {y.shape}, not (N,).", where=where, remedy=remedy)
    if len(y) != count:
        raise DataError(f"there are {len(y)} labels for {count} samples.", where=where, remedy="Give each sample one.")
    return y.astype(np.int64)
