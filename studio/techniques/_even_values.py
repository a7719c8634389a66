"""Evenly spaced shared values, as far apart as an error allows (Gish & Pierce 1968; Choi et al. 2017).

With an entropy code behind them hardly any other spacing is better: small weights fall on zero by
themselves, and values that few weights take cost few bits.
"""

from __future__ import annotations

import numpy as np

from studio.core.encoding_codebook import TYPES, Codebook
from studio.techniques._kmeans import blocks_along

MOST = 127
"""Largest multiple of the step: all fit into 8 bits."""
HALVINGS = 30
"""Steps of the search; the distance is then known to float32's last digit."""


class Sizes:
    """Sizes of weights in order with their sums: the error of any distance takes a look-up a value."""

    def __init__(self, weight: np.ndarray) -> None:
        """`weight`: float32 of any shape."""
        sizes = np.abs(weight[weight != 0])
        sizes.sort()
        self.values = sizes
        self._sums = np.concatenate([[0.0], np.cumsum(sizes, dtype=np.float64)])
        self.energy = float(np.square(sizes, dtype=np.float64).sum())

    def error(self, step: float) -> float:
        """Sum of squared errors when each weight takes the nearest multiple of `step`, up to 127 times."""
        multiples = np.arange(MOST + 1)
        borders = ((multiples[1:] - 0.5) * step).astype(np.float32)
        cuts = np.concatenate([[0], np.searchsorted(self.values, borders, "right"), [len(self.values)]])
        values = multiples * step
        lost = np.square(values) * np.diff(cuts) - 2 * values * np.diff(self._sums[cuts])
        return self.energy + float(lost.sum())


def widest_step(weight: np.ndarray, share: float) -> np.float32:
    """Distance of values with which at most `share` of the sum of squares is lost, or what 8 bits allow.

    Found by halving as if the error only grew with the distance, which it nearly does; 1 for a weight of zeros.
    """
    sizes = Sizes(weight)
    if sizes.energy == 0:
        return np.float32(1)
    least = max(float(sizes.values[-1]) / MOST, float(np.finfo(np.float32).tiny))
    low, high = np.log(least), np.log(4 * MOST * least)  # 4 times the largest weight: all become zero
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = sizes.error(float(np.exp(middle))) <= share * sizes.energy
        low, high = (middle, high) if fits else (low, middle)
    return np.float32(np.exp(low))


def even_codebook(weight: np.ndarray, share: float, axis: int, blocks: int, kind: int) -> Codebook:
    """Codebook of a float32 weight whose tables hold zero first, then the multiples of a step that occur.

    `share`: of each block's sum of squares that may be lost; `kind`: bits of a stored value, 8, 16 or 32.
    """
    size, parts = blocks_along(weight.shape, axis, blocks)
    indices = np.zeros(weight.shape, np.uint8)
    tables, steps = [], []
    for at in parts:
        step = widest_step(weight[at], share)
        multiples = np.clip(np.rint(weight[at] / step), -MOST, MOST).astype(np.int16)
        present = np.bincount(multiples.reshape(-1) + MOST, minlength=2 * MOST + 1) > 0
        present[MOST] = False
        places = np.cumsum(present).astype(np.uint8) * present.astype(np.uint8)
        indices[at] = places[multiples + MOST]
        tables.append(np.concatenate([[0], np.flatnonzero(present) - MOST]))
        steps.append(step)
    width = max(len(table) for table in tables)
    padded = np.stack([np.pad(table, (0, width - len(table)), "edge") for table in tables])
    scales = np.array(steps, np.float32)
    floats = kind == 32
    stored = padded.astype(np.float32) * scales[:, None] if floats else padded.astype(TYPES[kind])
    bits = max(1, int(width - 1).bit_length())
    return Codebook(indices, stored, None if floats else scales, bits, axis, size)
