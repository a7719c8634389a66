"""Scales of symmetric weight grids: by the largest weight, by a percentile, by the least squared error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from studio.techniques._weight_levels import level_table, nearest_level

PERCENTILE = 0.999
SMALLEST = np.float32(2.0**-23)
"""Least scale relative to the layer's largest: what a channel of zeros gets."""

TRIED = 60
"""Scales tried between a bit-dependent part of the min-max scale and a little more than all of it."""

LARGEST_RATIO = 1.2  # a few weights may by luck lie closer to a grid that is wider than they are
LEAST_RATIO = 0.09
"""Smallest scale tried, for each bit but the first, relative to the min-max scale; for powers of two all the same."""
BLOCK = 1 << 15
"""Weights searched at once, so that the passes over them stay in the cache."""


def weight_scales(
    weight: np.ndarray, kept: np.ndarray | None, bits: int, calibration: str, shared: bool, power_of_two: bool = False
) -> np.ndarray:  # fmt: skip
    """One scale for each output channel, float32 (channels,), or one for all, (1,); all positive.

    weight: (channels, inputs, kernel places) float32, zero where pruned; kept: bool of that shape,
    None = all. Every scale is at least 2^-23 of the largest; a layer of zeros gets 1. Of 1 bit the scale is
    the mean of |w|, which has the least squared error (Rastegari et al. 2016, XNOR-Net, section 3.1), whatever
    the calibration.
    """
    rows = weight.reshape(1 if shared else len(weight), -1)
    shown = None if kept is None else kept.reshape(rows.shape)
    peaks = np.abs(rows).max(1, initial=0)
    if bits == 1:
        peaks = np.abs(rows).sum(1) / np.float32(rows.shape[1]) if shown is None else _means(rows, shown)
    elif calibration == "percentile":
        peaks = _percentiles(rows, shown, peaks)
    scale: np.ndarray = peaks / level_table(bits, power_of_two)[-1]
    scale = np.maximum(scale, _floor(scale))
    if calibration == "mse" and bits > 1:
        scale = _least_error(weight, scale, bits, power_of_two)
    floor = _floor(np.where(peaks > 0, scale, np.float32(0)))
    return np.where(peaks > 0, np.maximum(scale, floor), floor)


def grouped_scales(
    weight: np.ndarray, kept: np.ndarray | None, bits: int, calibration: str, group: int, power_of_two: bool = False
) -> np.ndarray:  # fmt: skip
    """Scales of each output channel and each `group` of inputs: (channels, groups) float32, the last group smaller."""
    parts = []
    for start in range(0, weight.shape[1], group):
        own = slice(start, start + group)
        shown = None if kept is None else kept[:, own]
        parts.append(weight_scales(weight[:, own], shown, bits, calibration, False, power_of_two))
    return np.stack(parts, axis=1)


def _means(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean of |w| of each row's kept weights; 0 where none is kept."""
    found: np.ndarray = (np.abs(rows) * kept).sum(1) / np.maximum(kept.sum(1), 1).astype(np.float32)
    return found


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


def _least_error(weight: np.ndarray, largest: np.ndarray, bits: int, power_of_two: bool) -> np.ndarray:
    """Scales of the least expected squared error of the layer's output, near the min-max scales `largest`.

    Inputs behind a ReLU have a mean and neighbours that resemble each other, so errors of one sign
    add up: the error of a channel is `sum e^2 + sum over inputs (sum over places e)^2 + (sum e)^2`.
    Where that would make the plain squared error of the weights larger than that of `largest`, only
    scales that do not are taken.
    """
    parts = [_search(block, start, bits, power_of_two) for block, start in _blocks(weight, largest)]
    free, careful, error, least = (np.concatenate(column) for column in zip(*parts, strict=True))
    return free if error.sum() <= least.sum() else careful


def _blocks(weight: np.ndarray, scale: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if len(scale) == 1:
        yield weight, scale
        return
    size = max(1, BLOCK // max(1, weight[0].size))
    for start in range(0, len(weight), size):
        yield weight[start : start + size], scale[start : start + size]


Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _search(weight: np.ndarray, largest: np.ndarray, bits: int, power_of_two: bool) -> Found:
    """For each scale of `largest`: the best one, the best that keeps the plain error, and both plain errors."""
    plain, expected = _errors(weight, largest, bits, power_of_two)
    free, careful = largest.copy(), largest.copy()
    least, least_careful, error = expected.copy(), expected.copy(), plain.copy()
    lowest = LEAST_RATIO * (1 if power_of_two else bits - 1)
    for ratio in np.geomspace(lowest, LARGEST_RATIO, TRIED, dtype=np.float32)[::-1]:
        scale = largest * ratio
        now, hoped = _errors(weight, scale, bits, power_of_two)
        wins = hoped < least
        free, least, error = np.where(wins, scale, free), np.where(wins, hoped, least), np.where(wins, now, error)
        wins = (hoped < least_careful) & (now <= plain)
        careful, least_careful = np.where(wins, scale, careful), np.where(wins, hoped, least_careful)
    return free, careful, error, plain


def _errors(
    weight: np.ndarray, scale: np.ndarray, bits: int, power_of_two: bool
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Squared error of the weights, and expected one of the outputs, for each scale (float64)."""
    places = weight.shape[2]
    rows = weight.reshape(len(weight), -1)
    error = _rounded(rows / scale[:, None], bits, power_of_two)
    error *= scale[:, None]
    error -= rows
    plain = np.einsum("ij,ij->i", error, error).astype(np.float64)
    if places == 1:
        total = error @ np.ones(error.shape[1], np.float32)
        expected = 2 * plain + np.square(total.astype(np.float64))
    else:
        inputs = (error.reshape(-1, places) @ np.ones(places, np.float32)).reshape(len(weight), -1)
        expected = plain + np.einsum("ij,ij->i", inputs, inputs) + np.square(inputs.sum(1, dtype=np.float64))
    if len(scale) == 1:
        return plain.sum(keepdims=True), expected.sum(keepdims=True)
    return plain, expected


def _rounded(values: np.ndarray, bits: int, power_of_two: bool) -> np.ndarray:
    """`nearest_level`, in place where levels are uniform: this is where the search spends its time."""
    if power_of_two:
        return nearest_level(values, bits, power_of_two)
    most = level_table(bits)[-1]
    np.rint(values, out=values)
    np.clip(values, -most, most, out=values)
    return values
