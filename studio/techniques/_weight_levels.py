"""Levels that integers of a weight grid can take, and the nearest one to each weight."""

from __future__ import annotations

from functools import cache

import numpy as np

from studio.core.encoding import levels


@cache
def level_table(bits: int, power_of_two: bool = False) -> np.ndarray:
    """Integers of a grid in rising order, float32: 2 bits -1, 0, 1; 1 bit -1, 1; powers of two of 3 bits -4 .. 4."""
    if bits == 1:
        return np.array([-1, 1], np.float32)
    most = levels(bits)
    positive = 2.0 ** np.arange(most) if power_of_two else np.arange(1.0, most + 1)
    return np.concatenate([-positive[::-1], [0.0], positive]).astype(np.float32)


def nearest_level(values: np.ndarray, bits: int, power_of_two: bool = False) -> np.ndarray:
    """Level nearest to each value, float32; uniform levels by `rint`, ties to even, others the larger of two as near.

    Values beyond the last level take it.
    """
    table = level_table(bits, power_of_two)
    if bits > 1 and not power_of_two:
        found: np.ndarray = np.clip(np.rint(values), table[0], table[-1])
        return found
    between = (table[1:] + table[:-1]) / 2
    found = table[np.searchsorted(between, values, side="right")]
    return found


def levels_around(values: np.ndarray, bits: int, power_of_two: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Two neighbouring levels, int8 each, between which each value lies; beyond the last level the last two."""
    table = level_table(bits, power_of_two)
    place = np.clip(np.searchsorted(table, values, side="right") - 1, 0, len(table) - 2)
    return table[place].astype(np.int8), table[place + 1].astype(np.int8)
