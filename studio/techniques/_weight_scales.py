"""Scales of symmetric weight grids: by the largest weight, by a percentile, by the least squared error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from studio.core.encoding import levels

PERCENTILE = 0.999
SMALLEST = np.float32(2.0**-23)
"""Least scale relative to the layer's largest: what a channel of zeros gets."""

RATIOS = (18, 100)
"""Scales tried for each channel: many where it has few weights (depthwise), which is cheap and helps most there."""

LARGEST_RATIO = 1.2  # a few weights may by luck lie closer to a grid that is wider than they are
REFINEMENTS = 2
BLOCK = 1 << 15
"""Weights searched at once, so that the passes over them stay in the cache."""


def channel_rows(values: np.ndarray, axis: int | None) -> np.ndarray:
    """(channels, weights of one) along `axis`, or (1, all) for None."""
    if axis is None:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def weight_scales(rows: np.ndarray, kept: np.ndarray | None, bits: int, calibration: str) -> np.ndarray:
    """One scale a row, float32 (channels,), all positive.

    rows: (channels, n) float32, zero where pruned; kept: bool of that shape, None = all. Every scale
    is at least 2^-23 of the largest; a layer of zeros gets 1.
    """
    most = np.float32(levels(bits))
    peaks = np.abs(rows).max(1, initial=0)
    scale: np.ndarray = peaks / most
    if calibration == "percentile":
        scale = _percentiles(rows, kept, peaks) / most
    scale = np.maximum(scale, _floor(scale))
    if calibration == "mse":
        scale = np.concatenate([_search(*part, bits) for part in _blocks(rows, scale)])
    floor = _floor(np.where(peaks > 0, scale, np.float32(0)))
    return np.where(peaks > 0, np.maximum(scale, floor), floor)


def _floor(scale: np.ndarray) -> np.float32:
    largest = np.float32(scale.max(initial=0))
    if largest == 0:
        return np.float32(1)
    return np.float32(max(largest * SMALLEST, np.finfo(np.float32).tiny))


def _percentiles(rows: np.ndarray, kept: np.ndarray | None, peaks: np.ndarray) -> np.ndarray:
    """99.9th percentile of |w| of each row, linear between neighbours; pruned weights do not count."""
    ordered = np.sort(np.abs(rows), axis=1)
    count = np.full(len(rows), rows.shape[1]) if kept is None else kept.sum(1)
    place = np.maximum(rows.shape[1] - count + PERCENTILE * (count - 1), 0)
    lower = np.minimum(place.astype(np.int64), rows.shape[1] - 1)
    upper = np.minimum(lower + 1, rows.shape[1] - 1)
    index = np.arange(len(rows))
    low, high = ordered[index, lower], ordered[index, upper]
    found = (low + (high - low) * (place - lower)).astype(np.float32)
    return np.where(found > 0, found, peaks)


def _blocks(rows: np.ndarray, scale: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    size = max(1, BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        yield rows[start : start + size], scale[start : start + size]


def _search(rows: np.ndarray, largest: np.ndarray, bits: int) -> np.ndarray:
    """Scale of the least squared error for each row, never worse than `largest` (the min-max scale).

    A geometric row of ratios to the min-max scale, then least squares for the best one's integers.
    """
    best, least = largest.copy(), _errors(rows, largest, bits)[0]
    tried = int(np.clip(4000 // rows.shape[1], *RATIOS))
    for ratio in np.geomspace(0.09 * (bits - 1), LARGEST_RATIO, tried, dtype=np.float32)[::-1]:
        error, _ = _errors(rows, largest * ratio, bits)
        best, least = _better(best, least, largest * ratio, error)
    for _ in range(REFINEMENTS):
        fitted = _errors(rows, best, bits)[1]
        error, _ = _errors(rows, fitted, bits)
        best, least = _better(best, least, fitted, error)
    return best


def _better(best: np.ndarray, least: np.ndarray, scale: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wins = error < least
    return np.where(wins, scale, best), np.where(wins, error, least)


def _errors(rows: np.ndarray, scale: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared error of each row (float64) at a scale, and the scale that suits the same integers best."""
    most = np.float32(levels(bits))
    whole = rows / scale[:, None]
    np.rint(whole, out=whole)
    np.clip(whole, -most, most, out=whole)
    power = np.einsum("ij,ij->i", whole, whole, dtype=np.float64)
    fitted = np.einsum("ij,ij->i", whole, rows, dtype=np.float64) / np.maximum(power, 1)
    whole *= scale[:, None]
    whole -= rows
    error = np.einsum("ij,ij->i", whole, whole, dtype=np.float64)
    return error, np.where(power > 0, fitted, scale).astype(np.float32)
