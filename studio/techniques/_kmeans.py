"""K-means in one dimension, exact Lloyd steps on sorted values (Lloyd 1982; Han et al. 2016, section 3).

A cluster is a range of the sorted values between the midpoints of neighbouring centroids, so that a step
takes two look-ups a cluster in prefix sums, however many values there are.
"""

from __future__ import annotations

import numpy as np

STEPS = 300
DRAWN = 4096
"""Values, evenly from the sorted ones, among which k-means++ draws: more change nothing that can be seen."""
_BINS = 1 << 14


class Sorted:
    """Values in order with their sums: what a step of Lloyd's needs."""

    def __init__(self, values: np.ndarray) -> None:
        """`values`: (n,) float32, at least one."""
        self.values = np.sort(values.reshape(-1))
        self._sums = np.concatenate([[0.0], np.cumsum(self.values, dtype=np.float64)])

    @property
    def distinct(self) -> int:
        """Number of different values."""
        return 1 + int(np.count_nonzero(np.diff(self.values)))

    def cuts(self, centroids: np.ndarray) -> np.ndarray:
        """Places in the order at which clusters begin and end: (k + 1,)."""
        inner = np.searchsorted(self.values, midpoints(centroids).astype(np.float32), "right")
        return np.concatenate([[0], inner, [len(self.values)]])

    def means(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (0 for an empty cluster) and size of each cluster, both (k,)."""
        sizes = np.diff(cuts)
        return np.diff(self._sums[cuts]) / np.maximum(sizes, 1), sizes


def blocks_along(shape: tuple[int, ...], axis: int, blocks: int) -> tuple[int, list[tuple[slice, ...]]]:
    """Channels of a block (0 = all) when `axis` is split into `blocks`, and the part of a weight of each block."""
    channels = shape[axis]
    size = 0 if blocks == 1 else max(1, -(-channels // blocks))
    step = size or channels
    return size, [(slice(None),) * axis + (slice(first, first + step),) for first in range(0, channels, step)]


def start(data: Sorted, k: int, how: str, seed: int = 0) -> np.ndarray:
    """First centroids, ascending (k,) float64: `linear` between the ends, `quantile`, or `kmeans++`.

    Linear keeps the few large weights, which matter most (Han 2016); k-means++ is Arthur & Vassilvitskii 2007.
    """
    values = data.values
    if how == "linear":
        return np.linspace(float(values[0]), float(values[-1]), k)
    if how == "quantile":
        places = (np.arange(k) + 0.5) * len(values) / k
        return values[places.astype(np.int64)].astype(np.float64)
    few = values[np.linspace(0, len(values) - 1, min(DRAWN, len(values))).astype(np.int64)].astype(np.float64)
    return _drawn(few, k, np.random.default_rng(seed))


def _drawn(few: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Each next centroid with a chance that grows with the squared distance to the nearest one so far."""
    found = [few[generator.integers(len(few))]]
    nearest = np.square(few - found[0])
    for _ in range(k - 1):
        total = np.cumsum(nearest)
        place = int(np.searchsorted(total, generator.random() * total[-1], "right"))
        found.append(few[min(place, len(few) - 1)])
        nearest = np.minimum(nearest, np.square(few - found[-1]))
    return np.sort(np.array(found))


def lloyd(data: Sorted, centroids: np.ndarray) -> np.ndarray:
    """Centroids (k,) float64, ascending, after Lloyd's steps to a standstill, at most 300.

    A cluster that is empty at the standstill takes the value that is farthest from its own centroid.
    """
    before = np.empty(0, np.int64)
    for _ in range(STEPS):
        cuts = data.cuts(centroids)
        means, sizes = data.means(cuts)
        if np.array_equal(cuts, before):
            if sizes.all() or not _refill(data, centroids, cuts, sizes):
                break
            before = np.empty(0, np.int64)
            continue
        before = cuts
        centroids = np.sort(np.where(sizes > 0, means, centroids))
    return centroids


def _refill(data: Sorted, centroids: np.ndarray, cuts: np.ndarray, sizes: np.ndarray) -> bool:
    """Move one empty cluster's centroid, in place, to the farthest value; False where every value has its own."""
    full = np.flatnonzero(sizes)
    ends = np.concatenate([data.values[cuts[full]], data.values[cuts[full + 1] - 1]]).astype(np.float64)
    far = np.abs(ends - np.tile(centroids[full], 2))
    if far.max() <= np.finfo(np.float32).eps * np.abs(ends).max():
        return False
    centroids[np.flatnonzero(sizes == 0)[0]] = ends[np.argmax(far)]
    centroids.sort()
    return True


def midpoints(centroids: np.ndarray) -> np.ndarray:
    """Between neighbours of (k,) ascending centroids: (k - 1,)."""
    found: np.ndarray = (centroids[1:] + centroids[:-1]) / 2
    return found


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the nearest of (k <= 256,) ascending centroids, of two equally near the lower one: uint8.

    A table over even steps gives a lower bound, which is then raised: five times as fast as a search a value.
    """
    borders = np.append(midpoints(centroids.astype(np.float64)).astype(np.float32), np.float32(np.inf))
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    step = (high - low) / _BINS or 1.0
    table = np.searchsorted(borders, low + step * (np.arange(-1, _BINS + 1) - 1), "left").astype(np.uint8)
    places = ((values - np.float32(low)) / np.float32(step)).astype(np.int32) + 1
    found = table[np.clip(places, 0, _BINS + 1)]
    while True:
        above = values > borders[found]
        if not above.any():
            return found
        found += above
