"""A data set as the engine sees it: numbered samples, ready for the network."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from studio.core.errors import DataError
from studio.data.fit import ArrayFit, PictureFit, needs_pictures
from studio.data.preprocess import Preprocess
from studio.data.sampling import balanced_order
from studio.data.sources import Arrays, Source

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
        self._arrays: ArrayFit | None = None
        if isinstance(source, Arrays) and not needs_pictures(source, self._shape, preprocess):
            self._arrays = ArrayFit(source, self._shape, preprocess)
            self.preprocess = preprocess
        else:
            self._pictures = PictureFit(self._shape, preprocess, self._where)
            self.preprocess = self._pictures.preprocess
        self._cache = _Cache()
        self.content_id = self._identify(samples, seed)
        # What does not fit shows when the data is opened, not in the middle of a measurement.
        self.batch([0])

    def batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Samples as float32 (n, *input shape without its batch), preprocessed.

        Raises DataError that names a picture which cannot be decoded. May be called from any thread.
        """
        chosen = self._chosen[np.asarray(indices, dtype=np.int64)]
        if self._arrays is not None:
            return self._arrays.batch(chosen)
        rows = [self._cache.get(int(i)) for i in chosen]
        for place, i in enumerate(chosen):
            if rows[place] is None:
                rows[place] = self._cache.put(int(i), self._pictures.picture(self._source, int(i)))
        return self._pictures.batch(np.stack([row for row in rows if row is not None]))

    def shown(self, index: int) -> np.ndarray | None:
        """One sample as a person sees it, (H, W) or (H, W, 3) uint8; None for what is no picture.

        Values that are no pixels (spectrograms) are stretched from their smallest to their largest.
        """
        i = int(self._chosen[index])
        if self._arrays is None:
            picture = self._pictures.picture(self._source, i)
            return picture[..., 0] if picture.shape[-1] == 1 else picture
        x = self._arrays.batch(np.array([i]))[0]
        x = x[0] if x.ndim == 3 and x.shape[0] == 1 else x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x
        if x.ndim == 3 and x.shape[0] == 3:
            x = x.transpose(1, 2, 0)
        if x.ndim != 2 and not (x.ndim == 3 and x.shape[-1] == 3):
            return None
        low, high = float(x.min()), float(x.max())
        stretched: np.ndarray = np.rint((x - low) * (255 / (high - low or 1.0))).astype(np.uint8)
        return stretched

    def order(self, seed: int = 0, first: int | None = None) -> np.ndarray:
        """Seeded random order of all samples, (count,) int64; by class where labels exist (see `balanced_order`).

        `first`: only so many of it, which is much faster for a few of many.
        """
        return balanced_order(self.count, self.labels, seed, first)

    def _identify(self, samples: int | None, seed: int) -> str:
        facts = [self._where, self.preprocess.to_json(), self._shape, samples, seed, self._source.stamp]
        if self._source.path.exists():
            status = self._source.path.stat()
            facts += [status.st_size, status.st_mtime_ns]
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
