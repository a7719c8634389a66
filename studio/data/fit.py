"""How samples become a network's input: decided once when the data is opened, applied to every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from studio.core.errors import DataError
from studio.data import layout, pictures
from studio.data.preprocess import Preprocess
from studio.data.sources import Arrays, Pictures, Source


class ArrayFit:
    """Stored arrays whose values go in as they lie, only with their axes in the network's order."""

    def __init__(self, source: Arrays, shape: tuple[int, ...], preprocess: Preprocess) -> None:
        """`shape`: the network's input without its batch. Raises DataError where it does not fit."""
        where = str(source.path)
        self._x, self._preprocess = source.x, preprocess
        self._arrange = layout.arrange(source.x.shape[1:], shape, source.layout, preprocess.layout, where)
        self._axis = layout.channel_axis(shape, preprocess.layout, value_count(preprocess, where), where)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Rows of the source -> float32 (n, *shape)."""
        rows = self._arrange(self._x[indices])
        return np.ascontiguousarray(self._preprocess.normalise(rows, self._axis))


class PictureFit:
    """Pictures: decoded, cropped, resized and brought into the network's channels and layout."""

    def __init__(self, shape: tuple[int, ...], wanted: Preprocess, where: str) -> None:
        """`shape`: the network's input without its batch. Raises DataError where it takes no such pictures."""
        self._shape, self._where = shape, where
        self.preprocess = _resolved(shape, wanted, where)
        self._axis = layout.channel_axis(shape, self.preprocess.layout, value_count(wanted, where), where)

    def picture(self, source: Source, i: int) -> np.ndarray:
        """One sample as (H, W, C) uint8 at the network's size."""
        if isinstance(source, Pictures):
            return self.row(pictures.decode(source.content(i), source.place(i)))
        return self.row(Image.fromarray(_channels_last(source.x[i], source.layout, self._where)))

    def row(self, picture: Image.Image) -> np.ndarray:
        """One picture as (H, W, C) uint8 at the network's size."""
        return pictures.fit(picture, self.preprocess)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """(n, H, W, C) uint8 -> float32 (n, *shape)."""
        x = rows.transpose(0, 3, 1, 2) if self.preprocess.layout == "NCHW" else rows
        if x[0].size != np.prod(self._shape):
            what = f"pictures of {rows.shape[1:]} do not fit the network's input {self._shape}."
            raise DataError(what, where=self._where, remedy='Give "resize" in --preprocess (in the app: Data).')
        x = x.reshape(len(x), *self._shape)
        return np.ascontiguousarray(self.preprocess.normalise(x, self._axis))


def prepare(frames: Sequence[np.ndarray], preprocess: Preprocess, input_shape: Sequence[int]) -> np.ndarray:
    """RGB pictures uint8 (H, W, 3) -> float32 (n, *input shape without its batch).

    What `Dataset.batch` does, for pictures that are in memory (crops, camera frames). `input_shape`
    includes a batch of 1. Raises DataError where the network takes no pictures.
    """
    fit = PictureFit(tuple(input_shape[1:]), preprocess, "picture")
    return fit.batch(np.stack([fit.row(Image.fromarray(np.ascontiguousarray(frame))) for frame in frames]))


def needs_pictures(source: Arrays, shape: tuple[int, ...], wanted: Preprocess) -> bool:
    """True where stored arrays must be treated as pictures: to be resized, cropped, or changed in colour."""
    if wanted.channels == "BGR":
        return True
    sizes = sorted(n for n in source.x.shape[1:] if n != 1), sorted(n for n in shape if n != 1)
    return sizes[0] != sizes[1] and (wanted.resize is not None or wanted.channels is not None)


def _resolved(shape: tuple[int, ...], wanted: Preprocess, where: str) -> Preprocess:
    found = layout.picture_layout(shape, wanted.layout, where)
    size = layout.picture_size(shape, found)
    if wanted.resize is not None and size is not None and wanted.resize != size:
        what = f"'resize' gives {list(wanted.resize)}, but the network takes {list(size)}."
        remedy = f'Write "resize": {list(size)} in --preprocess (in the app: Data), or leave it out.'
        raise DataError(what, where=where, remedy=remedy)
    colours = shape[0 if found == "NCHW" else 2] if len(shape) == 3 else 1
    channels = wanted.channels or ("L" if colours == 1 else "RGB")
    if len(shape) == 3 and colours != (1 if channels == "L" else 3):
        what = f"'channels' is {channels}, but the network takes {colours}."
        raise DataError(what, where=where, remedy='Choose "RGB", "BGR" (3) or "L" (1), or leave it out.')
    return replace(wanted, layout=found, resize=wanted.resize or size, channels=channels)


def value_count(preprocess: Preprocess, where: str) -> int:
    """Return how many values mean and std have: 1, or one for each channel."""
    lengths = {len(preprocess.mean), len(preprocess.std)} - {1}
    if len(lengths) > 1:
        what = f"'mean' has {len(preprocess.mean)} values, 'std' {len(preprocess.std)}."
        raise DataError(what, where=where, remedy="Give both one value, or one for each channel.")
    return lengths.pop() if lengths else 1


def _channels_last(x: np.ndarray, data_layout: str | None, where: str) -> np.ndarray:
    """One stored sample as uint8 (H, W) or (H, W, 3)."""
    if x.dtype != np.uint8 or x.ndim not in (2, 3):
        remedy = "Store pictures as uint8 (N, H, W, 3) or (N, H, W), or samples that fit without a resize."
        raise DataError(f"samples of {x.dtype} {x.shape} are no pictures to be resized.", where=where, remedy=remedy)
    if x.ndim == 3:
        found = layout.picture_layout(x.shape, data_layout, where)
        x = x.transpose(1, 2, 0) if found == "NCHW" else x
        x = x[:, :, 0] if x.shape[2] == 1 else x
    return np.ascontiguousarray(x)
