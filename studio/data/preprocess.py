"""Preprocessing as data: what happens to a sample before the network sees it.

`x_model = (x * scale - mean) / std`; pictures are first cropped, resized (Pillow's BILINEAR with
antialias over the whole picture) and brought into the model's channels and layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.errors import DataError, FileError

CHOICES: dict[str, tuple[str | None, ...]] = {
    "layout": (None, "NCHW", "NHWC"),
    "interpolation": ("bilinear",),
    "crop": (None, "centre"),
    "channels": (None, "RGB", "BGR", "L"),
}
LIMIT = 1 << 20
"""Largest preprocessing file in bytes."""
LARGEST = float(np.finfo(np.float32).max)
"""Largest number that float32 holds."""


@dataclass(frozen=True)
class Preprocess:
    """All that is done to a sample; None means: found from the shapes."""

    layout: str | None = None  # of the model: NCHW or NHWC
    resize: tuple[int, int] | None = None  # height, width
    interpolation: str = "bilinear"
    crop: str | None = None  # "centre": to the model's aspect, before the resize
    channels: str | None = None  # RGB, BGR or L
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)  # one value, or one for each channel
    std: tuple[float, ...] = (1.0,)

    @classmethod
    def from_json(cls, value: Any, where: str = "preprocess") -> Preprocess:
        """From the form in a file; raises DataError that names the file and the key."""
        if not isinstance(value, Mapping):
            raise DataError("preprocessing is not an object.", where=where, remedy='Write {"scale": 0.00392, ...}.')
        known = tuple(cls.__dataclass_fields__)
        for key in value:
            if key not in known:
                raise DataError(f"unknown key '{key}'.", where=where, remedy=f"Known: {', '.join(known)}.")
        found: dict[str, Any] = {}
        for key, choices in CHOICES.items():
            if key in value:
                found[key] = _choice(key, value[key], choices, where)
        if value.get("resize") is not None:
            found["resize"] = _size(value["resize"], where)
        if "scale" in value:
            found["scale"] = _number("scale", value["scale"], where)
        for key in ("mean", "std"):
            if value.get(key) is not None:
                found[key] = _numbers(key, value[key], where)
        if 0.0 in found.get("std", ()):
            raise DataError("'std' holds a zero.", where=where, remedy="Each value of 'std' divides: use 1 for none.")
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Form in a file: all keys, plain values; `from_json` gives back an equal Preprocess."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def normalise(self, x: np.ndarray, axis: int | None) -> np.ndarray:
        """`(x * scale - mean) / std` in float32; lists of mean and std lie along `axis` of `x`."""
        x = x.astype(np.float32)
        if self.scale != 1.0:
            x *= np.float32(self.scale)
        if set(self.mean) != {0.0}:
            x -= along(self.mean, x.ndim, axis)
        if set(self.std) != {1.0}:
            x /= along(self.std, x.ndim, axis)
        return x


def load(path: Path) -> Mapping[str, Any]:
    """Read a preprocessing file; raises FileError or DataError."""
    try:
        if path.stat().st_size > LIMIT:
            raise FileError("is too large for preprocessing.", where=str(path), remedy="Give a small JSON file.")
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be read ({reason}).", where=str(path), remedy="Check the path.") from None
    except (ValueError, RecursionError):
        raise FileError("is not valid JSON.", where=str(path), remedy='Write {"scale": 0.00392, ...}.') from None
    Preprocess.from_json(value, str(path))
    found: Mapping[str, Any] = value
    return found


def along(values: tuple[float, ...], rank: int, axis: int | None) -> np.ndarray:
    """Values of channels, float32, in a shape that fits arrays of so many axes; one value fits any."""
    array = np.array(values, dtype=np.float32)
    if len(values) == 1 or axis is None:
        return array
    return array.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _choice(key: str, value: Any, choices: tuple[str | None, ...], where: str) -> Any:
    if key == "layout" and value == "as stored":
        return None
    if value not in choices:
        remedy = "Choose one of " + ", ".join("null" if c is None else f'"{c}"' for c in choices) + "."
        raise DataError(f"'{key}' cannot be {value!r}.", where=where, remedy=remedy)
    return value


def _size(value: Any, where: str) -> tuple[int, int]:
    good = isinstance(value, list | tuple) and len(value) == 2
    if not good or not all(type(v) is int and 0 < v <= 16384 for v in value):
        remedy = 'Give height and width in pixels, as in "resize": [96, 96].'
        raise DataError(f"'resize' cannot be {value!r}.", where=where, remedy=remedy)
    return int(value[0]), int(value[1])


def _number(key: str, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise DataError(f"'{key}' cannot be {value!r}.", where=where, remedy="Give a finite number.")
    return float(value)


def _numbers(key: str, value: Any, where: str) -> tuple[float, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise DataError(f"'{key}' is empty.", where=where, remedy="Give one number, or one for each channel.")
    return tuple(_number(key, v, where) for v in values)
