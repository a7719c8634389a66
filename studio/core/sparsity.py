"""Where the non-zero weights lie, in as few bytes as possible: bitmap, gaps, N:M positions, blocks of four.

A mask is looked at weight by weight, or in groups of four neighbours along one axis (the pattern
of N:M and of 1x4 blocks). Groups are numbered in C order of the shape without the places in a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from studio.core import gaps
from studio.core.packing import Reader, damaged, pack_count, pack_integers, packed_size

GROUP = 4
BITMAP = 0
GAP_WIDTHS = range(3, 9)
CODED_GAPS, EVERY = 9, 10
"""Forms of Huffman-coded weights only: coded distances (`gaps`), and no mask at all."""
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
    1 or 2 = places of N in each group of four, 3..8 = distances between kept ones, of so many bits,
    9 = coded distances, 10 = every weight has a value.
    """

    code: int
    axis: int | None = None

    @property
    def byte(self) -> int:
        """Form in the packed header."""
        return self.code | (0 if self.axis is None else self.axis + 1) << 4

    @classmethod
    def from_byte(cls, value: int, shape: tuple[int, ...], coded: bool, fills: bool) -> Form:
        """Raise FileError for what no mask of this shape can have.

        `coded`: of Huffman-coded weights; `fills`: there is a code for zeros that stand beside kept weights.
        """
        code, axis = value & 15, (value >> 4) - 1
        if code > (EVERY if coded else max(GAP_WIDTHS)) or axis >= len(shape) or (axis < 0 and code in PATTERN_BITS):
            raise damaged(f"unknown form {value} of a mask")
        if axis >= 0 and (not fills or code == EVERY):
            raise damaged("groups of four without a code for zero")
        if axis >= 0 and shape[axis] % GROUP:
            raise damaged(f"{shape[axis]} channels in groups of four")
        return cls(code, axis if axis >= 0 else None)


def choose(kept: np.ndarray, value_bits: int, fills: bool = True) -> tuple[Form, int]:
    """Smallest form of a mask and the bytes of mask and values together.

    kept: bool of the weight's shape; value_bits: bits of one stored value; `fills`: a pruned weight may
    be stored as zero. The result never grows when fewer weights are kept.
    """
    sizes: list[tuple[int, Form]] = []
    for axis, sums in _units(kept, fills):
        sizes += _candidates(axis, sums, 1 if axis is None else GROUP, value_bits)
    best = min(sizes, key=lambda found: found[0])
    return best[1], best[0]


def units(kept: np.ndarray, fills: bool = True) -> Iterator[tuple[int | None, np.ndarray]]:
    """Weights one by one, and in groups of four along each axis where they come in fours: (axis, bool of the units)."""
    for axis, sums in _units(kept, fills):
        yield axis, sums != 0


def _units(kept: np.ndarray, fills: bool) -> Iterator[tuple[int | None, np.ndarray]]:
    """Axis and the number of kept weights in each unit, uint8."""
    yield None, np.ascontiguousarray(kept).reshape(-1).view(np.uint8)
    for axis in range(min(kept.ndim, 2) if fills else 0):
        if kept.shape[axis] and kept.shape[axis] % GROUP == 0:
            yield axis, _sums(kept, axis)


def sizes(kept: np.ndarray, form: Form) -> tuple[int, int]:
    """Values that a form stores, and bytes of its mask (0 for coded distances, which know it themselves)."""
    if form.code == EVERY:
        return kept.size, 0
    mask, stored = (b"", None) if form.code == CODED_GAPS else write(kept, form)
    if stored is not None:
        return int(np.count_nonzero(stored)), len(mask)
    return int(np.count_nonzero(flags(kept, form))) * (1 if form.axis is None else GROUP), 0


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
    if form.code == EVERY:
        return b"", np.ones(units.shape, np.bool_)
    if form.code in PATTERN_BITS:
        present = units @ np.array([1, 2, 4, 8], np.uint8)
        chosen = _FILLED[form.code][present]
        return pack_integers(chosen, PATTERN_BITS[form.code]), _spread(chosen, form.code)
    kept_units = flags(kept, form)
    stored = spread(kept_units, form)
    if form.code == BITMAP:
        return np.packbits(kept_units, bitorder="little").tobytes(), stored
    symbols = _symbols(_gaps(np.flatnonzero(kept_units)), form.code)
    return pack_count(len(symbols)) + pack_integers(symbols, form.code), stored


def read(reader: Reader, shape: tuple[int, ...], form: Form) -> np.ndarray:
    """Inverse of `write`: which places of `arrange(weight, form)` have a stored value (bool)."""
    count = int(np.prod(shape, dtype=np.int64)) // (1 if form.axis is None else GROUP)
    if form.code == EVERY:
        return np.ones((count, 1), np.bool_)
    if form.code in PATTERN_BITS:
        chosen = reader.integers(count, PATTERN_BITS[form.code])
        if chosen.size and chosen.max() >= len(_PLACES[form.code]):
            raise damaged("an impossible pattern in a group of four")
        return _spread(chosen, form.code)
    if form.code == BITMAP:
        content = np.frombuffer(reader.take(packed_size(count, 1)), np.uint8)
        units = np.unpackbits(content, count=count, bitorder="little").view(np.bool_)
    else:
        units = gaps.read(reader, count) if form.code == CODED_GAPS else _flags(reader, count, form.code)
    return spread(units, form)


def flags(kept: np.ndarray, form: Form) -> np.ndarray:
    """Which units of a mask hold a kept weight: (n,) bool."""
    return np.asarray(arrange(kept, form).any(axis=1))


def spread(units: np.ndarray, form: Form) -> np.ndarray:
    """Kept units (n,) -> places with a value in `arrange(weight, form)`: (n, 1) or (n, 4) bool."""
    size = 1 if form.axis is None else GROUP
    return np.repeat(units, size).reshape(len(units), size)


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
