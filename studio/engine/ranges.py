"""From a tensor's statistics to the range that its integers cover. Zero is always inside."""

from __future__ import annotations

import numpy as np

from studio.engine.statistics import TensorStatistics

PERCENTILE = 99.99
LEVELS = 255
"""Steps between the least and the largest int8 value."""
NOTHING = (0.0, 1.0)
"""Range of a tensor that is always zero: any scale stores it exactly."""
SMALLEST = 2.0**-32
"""Ranges below this are nothing but rounding, and their scales would overflow in float32."""
LEAST_BINS, BIN_STEP, TINY = 128, 8, 1e-4
"""Entropy: bins of the smallest range tried, bins from one to the next, and what stands for an empty bin's count."""
COARSE, FINE, ROUNDS = 8, 5, 4
"""Clip fractions tried on each side: first between 0 and 1, then around the best, closer each round."""


def tensor_range(
    tensor: TensorStatistics, calibration: str = "mse", *, percentile: float = PERCENTILE
) -> tuple[float, float]:
    """Low and high end of a tensor's 8-bit range; a tensor without negative values keeps low = 0.

    `calibration`: `min_max`, `percentile` (that share of the values lies below high, and above low),
    `mse` (least expected squared error of affine 8-bit quantization over the histogram), or `entropy` (least
    Kullback-Leibler divergence between the histogram and its quantized form; Migacz 2017, TensorRT).
    """
    if is_silent(tensor):
        return NOTHING
    low, high = min(tensor.minimum, 0.0), max(tensor.maximum, 0.0)
    if calibration == "percentile":
        return _percentile(tensor, low, high, percentile)
    if calibration == "mse":
        return _mse(tensor, low, high)
    if calibration == "entropy":
        return _entropy(tensor, low, high)
    if calibration != "min_max":
        raise ValueError(f"unknown calibration {calibration!r}")
    return low, high


def is_silent(tensor: TensorStatistics) -> bool:
    """True for a tensor that was zero on all samples, to within rounding."""
    return max(tensor.maximum, 0.0) - min(tensor.minimum, 0.0) < SMALLEST


def _percentile(tensor: TensorStatistics, low: float, high: float, percentile: float) -> tuple[float, float]:
    below, above = (_quantile(tensor, share) for share in (1 - percentile / 100, percentile / 100))
    found = max(low, min(0.0, below)), min(high, max(0.0, above))
    return found if found[1] - found[0] >= SMALLEST else (low, high)


def _quantile(tensor: TensorStatistics, share: float) -> float:
    """Value below which `share` of all values lie, even within a bin."""
    seen = np.cumsum(tensor.counts)
    wanted = min(max(share * seen[-1], 1e-9), float(seen[-1]))
    i = int(np.searchsorted(seen, wanted))
    inside = 1 - (seen[i] - wanted) / tensor.counts[i]
    return float(tensor.edges[i] + inside * (tensor.edges[i + 1] - tensor.edges[i]))


def _entropy(tensor: TensorStatistics, low: float, high: float) -> tuple[float, float]:
    """Threshold t for both signs: the range max(low, -t) .. min(high, t) whose 255 steps keep most of the shape."""
    counts, width = _without_zeros(tensor), float(tensor.edges[1] - tensor.edges[0])
    zero = round(float(-tensor.edges[0]) / width)
    most = max(zero, len(counts) - zero)
    best, found = np.inf, (low, high)
    for bins in [*range(LEAST_BINS, most, BIN_STEP), most]:
        first, last = max(0, zero - bins), min(len(counts), zero + bins)
        ends = max(low, float(tensor.edges[first])), min(high, float(tensor.edges[last]))
        lost = divergence(counts, first, last)
        if lost < best and ends[1] - ends[0] >= SMALLEST:
            best, found = lost, ends
    return found


def divergence(counts: np.ndarray, first: int, last: int) -> float:
    """Kullback-Leibler divergence of the bins `first`..`last` behind quantization from those before, in nats.

    Before: values outside lie in the end bins. Behind: each step's count lies evenly in those of its bins that
    are not empty.
    """
    inside = counts[first:last]
    if not inside.any():
        return np.inf
    before = inside.copy()
    before[0] += counts[:first].sum()
    before[-1] += counts[last:].sum()
    step = np.arange(len(inside)) * min(LEVELS, len(inside)) // len(inside)
    filled = before > 0
    share = np.bincount(step, inside) / np.maximum(np.bincount(step, filled), 1)
    behind = np.where(filled, np.maximum(share[step], TINY), 0)
    p, q = before[filled] / before.sum(), behind[filled] / behind.sum()
    return float((p * np.log(p / q)).sum())


def _mse(tensor: TensorStatistics, low: float, high: float) -> tuple[float, float]:
    """Search the clip fractions of both ends, coarse to fine; the ends themselves are always tried."""
    # Two bins at a time: the integral below is exact within a bin, so half the work costs nothing seen.
    counts = _without_zeros(tensor).reshape(-1, 2).sum(1)
    edges = np.clip(tensor.edges[::2], low, high)
    used = np.flatnonzero(counts)
    left, right = edges[used], edges[used + 1]
    lows = highs = np.arange(1, COARSE + 1) / COARSE
    # A last bin that ends where it begins still needs a width to be integrated over.
    left = np.minimum(left, right - 1e-9 * (high - low))
    reach = 1 / COARSE
    for _ in range(ROUNDS + 1):
        pairs = np.array([(a * low, b * high) for a in (lows if low else [1.0]) for b in (highs if high else [1.0])])
        pairs = pairs[pairs[:, 1] - pairs[:, 0] >= SMALLEST]
        best = pairs[expected_error(left, right, counts[used], pairs).argmin()]
        lows, highs = (_around(b / end if end else 1.0, reach) for end, b in zip((low, high), best, strict=True))
        reach /= FINE // 2 + 1
    return float(best[0]), float(best[1])


def _around(fraction: float, reach: float) -> np.ndarray:
    """Fractions within `reach` of the best, itself among them, none above 1."""
    return np.unique(np.clip(fraction + reach * np.linspace(-1, 1, FINE), reach / FINE, 1.0))


def expected_error(left: np.ndarray, right: np.ndarray, counts: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Sum of squared errors of affine 8-bit quantization, (K,) for `ranges` (K, 2) of low and high.

    The values lie evenly in bins `left`..`right` (B,) with `counts` (B,); within a bin the square of
    `x - s * clip(rint(x / s))` is integrated exactly.
    """
    step = (ranges[:, 1] - ranges[:, 0]) / LEVELS
    below = np.rint(-ranges[:, 0] / step)
    lowest, highest, step = -below[:, None], (LEVELS - below)[:, None], step[:, None]

    def integral(x: np.ndarray) -> np.ndarray:
        n = np.clip(np.rint(x / step), lowest, highest)
        result: np.ndarray = n * step**3 / 12 + (x - n * step) ** 3 / 3
        return result

    errors: np.ndarray = ((integral(right) - integral(left)) * (counts / (right - left))).sum(1)
    return errors


def _without_zeros(tensor: TensorStatistics) -> np.ndarray:
    """Counts without exact zeros, which every range stores without error."""
    counts = tensor.counts.astype(np.float64)
    place = int(np.clip(np.searchsorted(tensor.edges, 0.0, "right") - 1, 0, len(counts) - 1))
    counts[place] = max(0.0, counts[place] - np.rint(tensor.zeros.sum() * tensor.count))
    return counts
