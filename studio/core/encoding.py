"""How a layer's weights are stored: a small closed set of encodings that nest.

| encoding | holds | over |
|---|---|---|
| `Dense` | float32 | |
| `Grid` | integers of 1 to 8 bits and scales | |
| `Codebook` | indices into shared values | |
| `Sparse` | a mask | Dense, Grid, Codebook |
| `Coded` | a Huffman code | Sparse or what it lies over |

`decode()` gives the float32 weights, `pack()` the real bytes; `bits()` is eight times their number,
so that nothing shown on screen is an estimate. Packed: kind, shape, scales, mask, values, CRC-32
(byte for byte in `studio/export/_packed/FORMAT.md`).
"""

from __future__ import annotations

import zlib

import numpy as np

from studio.core import huffman, sparsity
from studio.core.encoding_base import (
    CHECK,
    CODEBOOK,
    CODED,
    DENSE,
    FLOAT_BITS,
    GRID,
    GROUPED,
    SPARSE,
    Encoding,
    Head,
    Values,
    innermost,
)  # fmt: skip
from studio.core.encoding_codebook import Codebook, read_codebook
from studio.core.encoding_sparse import Coded, Sparse, unfold
from studio.core.encoding_values import Dense, Grid, along, levels, read_dense, read_grid
from studio.core.packing import Reader, damaged

__all__ = [
    "LIMIT", "Codebook", "Coded", "Dense", "Encoding", "Grid", "Sparse", "Values", "along", "innermost", "levels",
    "unpack",
]  # fmt: skip

LIMIT = 1 << 26
"""Weights of one layer that `unpack` makes room for: a few bytes can claim any number of zeros."""


def unpack(content: bytes, limit: int = LIMIT) -> Encoding:
    """Encoding from `pack()`; raises FileError for anything that is not exactly one, or over `limit` weights."""
    body = content[:-CHECK]
    if len(content) <= CHECK or zlib.crc32(body).to_bytes(CHECK, "little") != bytes(content[-CHECK:]):
        raise damaged("their check sum does not fit")
    reader = Reader(body)
    encoding = _read(reader, limit)
    if reader.left or encoding.body() != body:
        raise damaged("they are not in the form that the studio writes")
    return encoding


def _read(reader: Reader, limit: int) -> Encoding:
    kind = reader.byte()
    flags, shape = kind & ~15, reader.shape(limit)
    if flags not in (0, SPARSE, CODED | SPARSE):
        raise damaged(f"unknown kind {kind}")
    head = _head(reader, kind & 15, shape)
    count = int(np.prod(shape, dtype=np.int64))
    if not flags:
        return head.make(_codes(reader, count, head.code_bits).reshape(shape))
    form = sparsity.Form.from_byte(reader.byte(), shape, bool(flags & CODED), head.has_zero)
    stored = sparsity.read(reader, shape, form)
    values = int(np.count_nonzero(stored))
    codes = _symbols(reader, values, head) if flags & CODED else _codes(reader, values, head.code_bits)
    places = np.zeros(stored.shape, head.code_type)
    places[stored] = codes
    inner = head.make(sparsity.restore(places, shape, form))
    found = Sparse(sparsity.restore(stored, shape, form) & inner.nonzero, inner)
    return Coded(found) if flags & CODED else found


def _head(reader: Reader, kind: int, shape: tuple[int, ...]) -> Head:
    if kind == DENSE:
        return read_dense(reader, shape)
    if kind in (GRID, GROUPED):
        return read_grid(reader, shape, kind == GROUPED)
    if kind == CODEBOOK:
        return read_codebook(reader, shape)
    raise damaged(f"unknown kind {kind}")


def _codes(reader: Reader, count: int, bits: int) -> np.ndarray:
    return reader.floats(count) if bits == FLOAT_BITS else reader.integers(count, bits)


def _symbols(reader: Reader, count: int, head: Head) -> np.ndarray:
    """Codes from a Huffman stream behind its table; float32 values are not coded."""
    if head.code_bits == FLOAT_BITS or not count:
        return _codes(reader, count, head.code_bits)
    code = huffman.read_table(reader)
    codes = unfold(huffman.decode(reader, count, code), head.code_bits, head.signed)
    if int(codes.max(initial=0)) >= 1 << head.code_bits:
        raise damaged(f"a code of more than {head.code_bits} bits")
    return codes
