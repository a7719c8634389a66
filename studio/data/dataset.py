"""A data set as the engine sees it: numbered samples, ready for the network."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from PIL import Image

from studio.core.errors import DataError
from studio.data import layout, pictures
from studio.data.preprocess import Preprocess
from studio.data.sampling import balanced_order
from studio.data.sources import Arrays, Pictures, Source

CACHE = 256 << 20
"""Bytes of decoded pictures that stay in memory: a preview reads the same chunks again and again."""


class Dataset:
    """Samples of one source for one network input; `batch` decodes and preprocesses on demand."""

    def __init__(
        self, source: Source, input_shape: Sequence[int], preprocess: Preprocess, samples: int | None, seed: int
    ) -> None:
        """`input_shape` includes a batch of 1. Raises DataError where samples and network do not fit."""
        self._source = source
        self._shape = tuple(input_shape[1:])
        self._where = str(source.path)
        self._chosen = choose(source, samples, seed)
        self.name = source.path.name
        self.source = self._where
        self.count = len(self._chosen)
        self.labels: np.ndarray | None = None if source.labels is None else source.labels[self._chosen]
        self.classes = source.classes
        self._fit = _Fit(source, self._shape, preprocess)
        self.preprocess = self._fit.preprocess
        self._cache = _Cache()
        self.content_id = self._identify(samples, seed)
        # What does not fit shows when the data is opened, not in the middle of a measurement.
        self.batch([0])

    def batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Samples as float32 (n, *input shape without its batch), preprocessed.

        Raises DataError that names a picture which cannot be decoded. May be called from any thread.
        """
        chosen = self._chosen[np.asarray(indices, dtype=np.int64)]
        if self._fit.direct:
            assert isinstance(self._source, Arrays)
            return self._fit.arrays(self._source.x[chosen])
        rows = [self._cache.get(int(i)) for i in chosen]
        for place, i in enumerate(chosen):
            if rows[place] is None:
                rows[place] = self._cache.put(int(i), self._fit.picture(int(i)))
        return self._fit.pictures(np.stack([row for row in rows if row is not None]))

    def order(self, seed: int = 0) -> np.ndarray:
        """Seeded random order of all samples, (count,) int64; by class where labels exist (see `balanced_order`)."""
        return balanced_order(self.count, self.labels, seed)

    def _identify(self, samples: int | None, seed: int) -> str:
        status = self._source.path.stat()
        facts = [self._where, status.st_size, status.st_mtime_ns, self.preprocess.to_json(), self._shape, samples, seed]
        facts.append(self._source.stamp if isinstance(self._source, Pictures) else "")
        if self.labels is not None:
            facts.append(hashlib.sha256(self.labels.tobytes()).hexdigest())
        return "sha256:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def choose(source: Source, samples: int | None, seed: int) -> np.ndarray:
    """Positions of the wanted samples in the source, sorted; raises DataError where there are fewer."""
    if samples is None:
        return np.arange(source.count)
    if samples < 1:
        raise DataError(f"{samples} samples are too few.", where=str(source.path), remedy="Ask for at least 1.")
    if samples > source.count:
        what = f"{samples:,} samples are asked for, but there are only {source.count:,}."
        raise DataError(what, where=str(source.path), remedy=f"Ask for at most {source.count}.")
    return np.sort(balanced_order(source.count, source.labels, seed)[:samples])


class _Fit:
    """How a source's samples become the network's input, decided once."""

    def __init__(self, source: Source, shape: tuple[int, ...], wanted: Preprocess) -> None:
        self.source, self.shape, self.where = source, shape, str(source.path)
        self.direct = isinstance(source, Arrays) and not _picture_work(source, shape, wanted)
        if isinstance(source, Arrays) and self.direct:
            self.preprocess = wanted
            self._arrange = layout.arrange(source.x.shape[1:], shape, source.layout, wanted.layout, self.where)
        else:
            self.preprocess = self._resolved(wanted)
        values = max(len(wanted.mean), len(wanted.std))
        if len({len(wanted.mean), len(wanted.std), 1}) > 2:
            what = f"'mean' has {len(wanted.mean)} values, 'std' {len(wanted.std)}."
            raise DataError(what, where=self.where, remedy="Give both one value, or one for each channel.")
        self._axis = layout.channel_axis(shape, self.preprocess.layout, values, self.where)

    def _resolved(self, wanted: Preprocess) -> Preprocess:
        found = layout.picture_layout(self.shape, wanted.layout, self.where)
        size = layout.picture_size(self.shape, found)
        if wanted.resize is not None and size is not None and wanted.resize != size:
            what = f"'resize' gives {list(wanted.resize)}, but the network takes {list(size)}."
            raise DataError(
                what, where=self.where, remedy=f'Write "resize": {list(size)} in --preprocess, or leave it out.'
            )
        colours = self.shape[0 if found == "NCHW" else 2] if len(self.shape) == 3 else 1
        channels = wanted.channels or ("L" if colours == 1 else "RGB")
        if colours != (1 if channels == "L" else 3) and len(self.shape) == 3:
            what = f"'channels' is {channels}, but the network takes {colours}."
            raise DataError(what, where=self.where, remedy='Choose "RGB", "BGR" (3) or "L" (1), or leave it out.')
        return replace(wanted, layout=found, resize=wanted.resize or size, channels=channels)

    def arrays(self, x: np.ndarray) -> np.ndarray:
        """Stored rows (n, ...) -> network input."""
        return np.ascontiguousarray(self.preprocess.normalise(self._arrange(x), self._axis))

    def picture(self, i: int) -> np.ndarray:
        """One sample as (H, W, C) uint8 at the network's size."""
        if isinstance(self.source, Pictures):
            found = pictures.decode(self.source.content(i), self.source.place(i))
        else:
            found = Image.fromarray(_last(self.source.x[i], self.source.layout, self.where))
        return pictures.fit(found, self.preprocess)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """(n, H, W, C) uint8 -> network input."""
        rows = rows.transpose(0, 3, 1, 2) if self.preprocess.layout == "NCHW" else rows
        if rows[0].size != np.prod(self.shape):
            what = f"pictures of {rows.shape[1:]} do not fit the network's input {self.shape}."
            raise DataError(what, where=self.where, remedy='Give "resize" in --preprocess.')
        x = rows.reshape(len(rows), *self.shape)
        return np.ascontiguousarray(self.preprocess.normalise(x, self._axis))


def _picture_work(source: Arrays, shape: tuple[int, ...], wanted: Preprocess) -> bool:
    """True where stored arrays must be treated as pictures: to be resized, cropped, or changed in colour."""
    if wanted.channels == "BGR":
        return True
    sizes = sorted(n for n in source.x.shape[1:] if n != 1), sorted(n for n in shape if n != 1)
    return sizes[0] != sizes[1] and (wanted.resize is not None or wanted.channels is not None)


def _last(x: np.ndarray, data_layout: str | None, where: str) -> np.ndarray:
    """One stored sample as uint8 (H, W) or (H, W, 3)."""
    if x.dtype != np.uint8 or x.ndim not in (2, 3):
        remedy = "Store pictures as uint8 (N, H, W, 3) or (N, H, W), or samples that fit without a resize."
        raise DataError(f"samples of {x.dtype} {x.shape} are no pictures to be resized.", where=where, remedy=remedy)
    if x.ndim == 3:
        found = layout.picture_layout(x.shape, data_layout, where)
        x = x.transpose(1, 2, 0) if found == "NCHW" else x
        x = x[:, :, 0] if x.shape[2] == 1 else x
    return np.ascontiguousarray(x)


class _Cache:
    """Decoded pictures, the least recently used dropped first; threads take turns."""

    def __init__(self) -> None:
        self._rows: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, i: int) -> np.ndarray | None:
        with self._lock:
            if i in self._rows:
                self._rows.move_to_end(i)
            return self._rows.get(i)

    def put(self, i: int, row: np.ndarray) -> np.ndarray:
        with self._lock:
            if i not in self._rows:
                self._bytes += row.nbytes
            self._rows[i] = row
            while self._bytes > CACHE and len(self._rows) > 1:
                self._bytes -= self._rows.popitem(last=False)[1].nbytes
        return row
