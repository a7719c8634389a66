"""Distances between kept places, Huffman-coded: the high part of each as a symbol, `s` low bits as they are.

Splitting keeps the table of code lengths short where distances are long and nearly equally likely. The
split is chosen by real size, tables included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core import huffman
from studio.core.packing import Reader, damaged, pack_count, pack_integers, packed_size

FILLER = 255
"""Symbol for 255 high parts skipped and no kept place behind them; it has no low bits."""
SPLITS = range(8)


@dataclass(frozen=True, eq=False)
class Gaps:
    """A chosen code for the kept places of a row of units."""

    split: int  # low bits stored as they are
    counts: np.ndarray  # (256,) of the high parts, fillers included
    code: np.ndarray  # (256,) uint8 lengths
    kept: int

    @property
    def size(self) -> int:
        """Bytes of everything that `write` gives."""
        if not self.kept:
            return 1
        stream = (huffman.stream_bits(self.counts, self.code) + 7) // 8
        head = len(self._head()) + len(pack_count(stream)) + len(huffman.table(self.code))
        return head + stream + packed_size(self.kept, self.split)

    def _head(self) -> bytes:
        return pack_count(int(self.counts.sum())) + bytes([self.split])

    def write(self, flags: np.ndarray) -> bytes:
        """Symbols' number, split, table, stream length, stream, low bits; a zero byte where nothing is kept."""
        if not self.kept:
            return b"\0"
        gaps = distances(flags)
        high = gaps >> self.split
        fillers = high // FILLER
        ends = np.cumsum(fillers + 1) - 1
        symbols = np.full(int(ends[-1]) + 1, FILLER, np.uint8)
        symbols[ends] = high % FILLER
        stream = huffman.encode(symbols, self.code)
        low = pack_integers(gaps & ((1 << self.split) - 1), self.split)
        return self._head() + huffman.table(self.code) + pack_count(len(stream)) + stream + low


def distances(flags: np.ndarray) -> np.ndarray:
    """Skipped places before each kept one: flags (n,) bool -> (k,) int64."""
    found: np.ndarray = np.diff(np.flatnonzero(flags), prepend=-1) - 1
    return found


def choose(flags: np.ndarray) -> Gaps:
    """Smallest code for the True places of (n,) bool; of equal ones that with the fewest low bits."""
    gaps = distances(flags)
    values, counts = np.unique(gaps, return_counts=True) if len(gaps) > 1 << 16 else (gaps, np.ones_like(gaps))
    return min((_with_split(values, counts, split) for split in SPLITS), key=lambda found: found.size)


def _with_split(values: np.ndarray, counts: np.ndarray, split: int) -> Gaps:
    high = values >> split
    found = np.bincount(high % FILLER, counts, huffman.SYMBOLS).astype(np.int64)
    found[FILLER] = int((high // FILLER) @ counts)
    return Gaps(split, found, huffman.lengths(found), int(counts.sum()))


def read(reader: Reader, count: int) -> np.ndarray:
    """Inverse of `Gaps.write`: (count,) bool; raises FileError for places behind the last one."""
    flags = np.zeros(count, np.bool_)
    symbols = reader.count()
    if not symbols:
        return flags
    if symbols > count:
        raise damaged("more distances than weights")
    split = reader.byte()
    if split not in SPLITS:
        raise damaged(f"{split} low bits of a distance")
    code = huffman.read_table(reader)
    stream = Reader(reader.take(reader.count()))
    high = huffman.decode(stream, symbols, code)
    kept = high != FILLER
    low = reader.integers(int(kept.sum()), split)
    advance = np.where(kept, high, np.uint8(FILLER)).astype(np.int64) << split
    advance[kept] += low + np.int64(1)
    places = np.cumsum(advance) - 1
    if stream.left or places[-1] >= count:
        raise damaged("a kept weight lies behind the last one")
    flags[places[kept]] = True
    return flags
