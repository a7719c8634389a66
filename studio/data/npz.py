"""An .npz file: `x` (and `y`), or pictures as one byte array (`blob`, `offsets`, `y`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from studio.core.errors import DataError
from studio.data.archive import Archive, NamedArrays
from studio.data.sources import Arrays, Pictures, Source, integer_labels

STORED = ("mean", "std", "scale")
MOST_CHANNELS = 4096
"""Most values that mean, std and scale can have."""
SLICE = 64 << 20
"""Bytes that are looked at together in the search for NaN."""


def read(path: Path, label: str | None = None) -> Source:
    """Samples of an .npz; `label` names another array than `y`. Raises FileError or DataError."""
    return samples(Archive(path), label)


def samples(archive: NamedArrays, label: str | None = None) -> Source:
    """Samples of named arrays; raises DataError."""
    if "x" in archive:
        return _arrays(archive, label)
    if "blob" in archive and "offsets" in archive:
        return _blob(archive, label)
    found = ", ".join(repr(name[:40])[1:-1] for name in archive.names[:8]) or "nothing"
    remedy = "It needs 'x' (samples first) and 'y', or pictures as 'blob' and 'offsets'."
    raise DataError(f"there are no samples (found: {found}).", where=str(archive.path), remedy=remedy)


def _arrays(archive: NamedArrays, label: str | None) -> Arrays:
    where, x = str(archive.path), archive.array("x")
    if x.dtype not in (np.float32, np.uint8):
        remedy = "Save it as float32 or uint8, for instance x.astype('float32')."
        raise DataError(f"'x' holds {x.dtype}.", where=where, remedy=remedy)
    if x.ndim < 2 or 0 in x.shape:
        remedy = "The first axis counts the samples, as in (N, C, H, W) or (N, F)."
        raise DataError(f"'x' has shape {x.shape}.", where=where, remedy=remedy)
    check_finite(x, where)
    labels = _labels(archive, len(x), label)
    return Arrays(archive.path, x, labels, class_names(archive), _stored(archive), _layout(archive))


def check_finite(x: np.ndarray, where: str) -> None:
    """Raise DataError that names the first sample with NaN or an infinite value."""
    if x.dtype.kind != "f":
        return
    step = max(1, SLICE // max(1, x[0].nbytes))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        # A sum is finite where all values are, and needs no second array; the exact look comes only after.
        with np.errstate(all="ignore"):
            total = part.sum(dtype=np.float64)
        if not np.isfinite(total):
            bad = ~np.isfinite(part).reshape(len(part), -1).all(1)
            if bad.any():
                remedy = "Remove these samples or replace the values."
                what = f"sample {start + int(bad.argmax())} of 'x' holds NaN or infinite values."
                raise DataError(what, where=where, remedy=remedy)


def _blob(archive: NamedArrays, label: str | None) -> Pictures:
    where = str(archive.path)
    blob, offsets = archive.array("blob"), archive.array("offsets")
    if blob.dtype != np.uint8 or blob.ndim != 1:
        remedy = "Save all encoded pictures as one row of uint8."
        raise DataError(f"'blob' is {blob.dtype} of shape {blob.shape}.", where=where, remedy=remedy)
    check_offsets(offsets, len(blob), where)
    count = len(offsets) - 1
    offsets = offsets.astype(np.int64)

    def content(i: int) -> bytes:
        return blob[offsets[i] : offsets[i + 1]].tobytes()

    return Pictures(
        archive.path, count, content, lambda i: f"{where}: picture {i}", _labels(archive, count, label),
        class_names(archive), _stored(archive),
    )  # fmt: skip


def check_offsets(offsets: np.ndarray, size: int, where: str) -> None:
    """Raise DataError unless offsets are n + 1 growing positions inside a blob of `size` bytes."""
    remedy = "'offsets' holds n + 1 positions: picture i lies at blob[offsets[i]:offsets[i + 1]]."
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or len(offsets) < 2:
        raise DataError(f"'offsets' is {offsets.dtype} of shape {offsets.shape}.", where=where, remedy=remedy)
    falls = np.flatnonzero(offsets[1:] <= offsets[:-1])
    if len(falls):
        i = int(falls[0])
        what = f"'offsets' do not grow at picture {i} ({int(offsets[i])}, then {int(offsets[i + 1])})."
        raise DataError(what, where=where, remedy=remedy)
    if offsets[0] < 0 or offsets[-1] > size:
        worst = int(offsets[0]) if offsets[0] < 0 else int(offsets[-1])
        raise DataError(f"offset {worst} lies outside the blob of {size:,} bytes.", where=where, remedy=remedy)


def _labels(archive: NamedArrays, count: int, label: str | None) -> np.ndarray | None:
    if label and label not in archive:
        what = f"there is no array '{label}' for the labels (found: {', '.join(archive.names[:8])})."
        raise DataError(what, where=str(archive.path), remedy="Name one of them with --label, or leave it out for 'y'.")
    name = label or "y"
    return integer_labels(archive.array(name), count, str(archive.path), name) if name in archive else None


def class_names(archive: NamedArrays) -> tuple[str, ...] | None:
    """Class names in `classes` (or words in `labels`), or None."""
    for name in ("classes", "labels"):
        if name in archive:
            values = archive.array(name)
            if values.dtype.kind in "US" and values.ndim == 1:
                return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist())
    return None


def _layout(archive: NamedArrays) -> str | None:
    if "layout" not in archive:
        return None
    value = archive.array("layout")
    text = str(value.item())[:40] if value.size == 1 else f"an array of {value.dtype} {value.shape}"
    if text not in ("NCHW", "NHWC"):
        remedy = "Write NCHW or NHWC: how 'x' of this file lies."
        raise DataError(f"'layout' cannot be '{text}'.", where=str(archive.path), remedy=remedy)
    return text


def _stored(archive: NamedArrays) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STORED:
        if name in archive:
            value = archive.array(name)
            if value.dtype.kind not in "iuf":
                remedy = "Store a number, or one for each channel."
                raise DataError(f"'{name}' holds {value.dtype}.", where=str(archive.path), remedy=remedy)
            if value.ndim > 1 or value.size > MOST_CHANNELS:
                remedy = "Store a number, or a row of one for each channel."
                raise DataError(f"'{name}' has shape {value.shape}.", where=str(archive.path), remedy=remedy)
            found[name] = float(value.item()) if value.size == 1 else [float(v) for v in value.ravel()]
    return found
