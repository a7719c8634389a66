"""Where the non-zero weights lie, in as few bytes as possible: bitmap, gaps, N:M positions, blocks of four.

A mask is looked at weight by weight, or in groups of four neighbours along one axis (the pattern
of N:M and of 1x4 blocks). Groups are numbered in C order of the shape without the places in a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core.packing import Reader, damaged, pack_count, pack_integers, packed_size

GROUP = 4
BITMAP = 0
GAP_WIDTHS = range(3, 9)
PATTERN_BITS = {1: 2, 2: 3}  # N of N:4 -> bits that tell the 4 or 6 possible sets of places apart

_PLACES = {n: [p for p in range(16) if p.bit_count() == n] for n in PATTERN_BITS}


def _filled(n: int) -> np.ndarray:
    """For each set of at most n of four places: the first set of exactly n that holds it; else -1."""
    fits = [next((i for i, full in enumerate(_PLACES[n]) if full & p == p), -1) for p in range(16)]
    return np.array(fits, np.int8)


_FILLED = {n: _filled(n) for n in PATTERN_BITS}


@dataclass(frozen=True)
class Form:
    """How a mask is stored.

    `axis`: None = weight by weight, else groups of four along this axis. `code`: 0 = one bit each,
    1 or 2 = places of N in each group of four, 3..8 = distances between kept ones, of so many bits.
    """

    code: int
    axis: int | None = None

    @property
    def byte(self) -> int:
        """Form in the packed header."""
        return self.code | (0 if self.axis is None else self.axis + 1) << 4

    @classmethod
    def from_byte(cls, value: int, shape: tuple[int, ...]) -> Form:
        """Raise FileError for what no mask of this shape can have."""
        code, axis = value & 15, (value >> 4) - 1
        if code > max(GAP_WIDTHS) or axis >= len(shape) or (axis < 0 and code in PATTERN_BITS):
            raise damaged(f"unknown form {value} of a mask")
        if axis >= 0 and shape[axis] % GROUP:
            raise damaged(f"{shape[axis]} channels in groups of four")
        return cls(code, axis if axis >= 0 else None)


def choose(kept: np.ndarray, value_bits: int) -> tuple[Form, int]:
    """Smallest form of a mask and the bytes of mask and values together.

    kept: bool of the weight's shape; value_bits: bits of one stored value. The result never grows
    when fewer weights are kept.
    """
    units: list[tuple[int | None, np.ndarray, int]] = [(None, kept.reshape(-1).view(np.uint8), 1)]
    for axis in range(min(kept.ndim, 2)):
        if kept.shape[axis] and kept.shape[axis] % GROUP == 0:
            units.append((axis, _sums(kept, axis), GROUP))
    sizes: list[tuple[int, Form]] = []
    for unit in units:
        sizes += _candidates(*unit, value_bits)
    best = min(sizes, key=lambda found: found[0])
    return best[1], best[0]


def _candidates(axis: int | None, sums: np.ndarray, size: int, value_bits: int) -> list[tuple[int, Form]]:
    places = np.flatnonzero(sums)
    values = packed_size(len(places) * size, value_bits)
    found = [(packed_size(len(sums), 1) + values, Form(BITMAP, axis))]
    if len(places) * min(GAP_WIDTHS) < len(sums):  # else one bit each is smaller at every width
        gaps = _gaps(places)
        for width in GAP_WIDTHS:
            symbols = len(places) + int((gaps // _longest(width)).sum())
            mask = len(pack_count(symbols)) + packed_size(symbols, width)
            found.append((mask + values, Form(width, axis)))
    if size == GROUP:
        most = int(sums.max(initial=0))
        for n, bits in PATTERN_BITS.items():
            if most <= n:
                found.append((packed_size(len(sums), bits) + packed_size(len(sums) * n, value_bits), Form(n, axis)))
    return found


def write(kept: np.ndarray, form: Form) -> tuple[bytes, np.ndarray]:
    """Bytes of the mask, and which places of `arrange(weight, form)` have a stored value (bool)."""
    units = arrange(kept, form)
    if form.code in PATTERN_BITS:
        present = units @ np.array([1, 2, 4, 8], np.uint8)
        chosen = _FILLED[form.code][present]
        return pack_integers(chosen, PATTERN_BITS[form.code]), _spread(chosen, form.code)
    flags = units.any(axis=1)
    stored = np.repeat(flags, units.shape[1]).reshape(units.shape)
    if form.code == BITMAP:
        return np.packbits(flags, bitorder="little").tobytes(), stored
    symbols = _symbols(_gaps(np.flatnonzero(flags)), form.code)
    return pack_count(len(symbols)) + pack_integers(symbols, form.code), stored


def read(reader: Reader, shape: tuple[int, ...], form: Form) -> np.ndarray:
    """Inverse of `write`: which places of `arrange(weight, form)` have a stored value (bool)."""
    size = 1 if form.axis is None else GROUP
    count = int(np.prod(shape, dtype=np.int64)) // size
    if form.code in PATTERN_BITS:
        chosen = reader.integers(count, PATTERN_BITS[form.code])
        if chosen.size and chosen.max() >= len(_PLACES[form.code]):
            raise damaged("an impossible pattern in a group of four")
        return _spread(chosen, form.code)
    if form.code == BITMAP:
        content = np.frombuffer(reader.take(packed_size(count, 1)), np.uint8)
        flags = np.unpackbits(content, count=count, bitorder="little").view(np.bool_)
    else:
        flags = _flags(reader, count, form.code)
    return np.repeat(flags, size).reshape(count, size)


def arrange(weight: np.ndarray, form: Form) -> np.ndarray:
    """(units, 1) or (groups, 4) view or copy of a weight, in the order in which values are stored."""
    if form.axis is None:
        return weight.reshape(-1, 1)
    before, places, after = _around(weight.shape, form.axis)
    return weight.reshape(before, places, GROUP, after).swapaxes(2, 3).reshape(-1, GROUP)


def restore(units: np.ndarray, shape: tuple[int, ...], form: Form) -> np.ndarray:
    """Inverse of `arrange`, C-contiguous."""
    if form.axis is None:
        return units.reshape(shape)
    before, places, after = _around(shape, form.axis)
    grouped = units.reshape(before, places, after, GROUP).swapaxes(2, 3)
    return np.ascontiguousarray(grouped).reshape(shape)


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    before = int(np.prod(shape[:axis], dtype=np.int64))
    after = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    return before, shape[axis] // GROUP, after


def _sums(kept: np.ndarray, axis: int) -> np.ndarray:
    """Kept weights in each group of four: adding four slices needs no transposed copy."""
    before, places, after = _around(kept.shape, axis)
    parts = np.ascontiguousarray(kept).view(np.uint8).reshape(before, places, GROUP, after)
    total: np.ndarray = parts[:, :, 0] + parts[:, :, 1] + parts[:, :, 2] + parts[:, :, 3]
    return total.reshape(-1)


def _longest(width: int) -> np.uint32:
    """Return the filler symbol: so many skipped places and no kept one behind them."""
    return np.uint32((1 << width) - 1)


def _gaps(places: np.ndarray) -> np.ndarray:
    """Skipped places before each kept one: (k,) uint32."""
    return (np.diff(places, prepend=-1) - 1).astype(np.uint32)


def _symbols(gaps: np.ndarray, width: int) -> np.ndarray:
    """Each gap as fillers and a rest: gap 9 at 3 bits = 7, 2."""
    fillers = gaps // _longest(width)
    ends = np.cumsum(fillers + 1) - 1
    symbols = np.full(int(ends[-1]) + 1 if len(ends) else 0, _longest(width), np.uint8)
    symbols[ends] = gaps % _longest(width)
    return symbols


def _flags(reader: Reader, count: int, width: int) -> np.ndarray:
    """Inverse of `_symbols` and `_gaps`: (count,) bool."""
    symbols = reader.integers(reader.count(), width)
    longest = int(_longest(width))
    advance = np.where(symbols == longest, longest, symbols.astype(np.int64) + 1)
    places = np.cumsum(advance) - 1
    if len(places) and places[-1] >= count:
        raise damaged("a kept weight lies behind the last one")
    flags = np.zeros(count, np.bool_)
    flags[places[symbols != longest]] = True
    return flags


def _spread(chosen: np.ndarray, n: int) -> np.ndarray:
    sets = np.array([[p >> place & 1 for place in range(GROUP)] for p in _PLACES[n]], np.bool_)
    spread: np.ndarray = sets[chosen]
    return spread
