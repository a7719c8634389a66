"""How a layer's weights are stored: a small closed set of encodings that nest.

`decode()` gives the float32 weights, `pack()` the real bytes; `bits()` is eight times their number,
so that nothing shown on screen is an estimate. Packed: kind, shape, scales, mask, values, CRC-32.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.core import sparsity
from studio.core.packing import Reader, damaged, pack_integers, pack_shape, packed_size, signed

LIMIT = 1 << 26
"""Weights of one layer that `unpack` makes room for: a few bytes can claim any number of zeros."""

CHECK = 4  # bytes of the CRC-32 at the end
_DENSE, _GRID, _SPARSE = 1, 2, 16


@dataclass(frozen=True, eq=False)
class Encoding:
    """Base of the closed set Dense, Grid, Sparse (Codebook and Coded come with weight sharing)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        raise NotImplementedError

    def decode(self) -> np.ndarray:
        """Return the weights as float32 of `shape`."""
        raise NotImplementedError

    def pack(self) -> bytes:
        """All that a decoder needs: header, scales, masks, values."""
        body = self._body()
        return body + zlib.crc32(body).to_bytes(CHECK, "little")

    def bits(self) -> int:
        """Real size in bits: eight times the packed bytes, counted without building them."""
        return 8 * (self._size + CHECK)

    def _body(self) -> bytes:
        raise NotImplementedError

    @cached_property
    def _size(self) -> int:
        """Return len(self._body())."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Values(Encoding):
    """Base of the encodings that hold one code a weight: Dense and Grid."""

    @property
    def codes(self) -> np.ndarray:
        """What is stored of each weight, an array of `shape`; the code of an exact zero is all bits zero."""
        raise NotImplementedError

    @property
    def code_bits(self) -> int:
        """Bits of one stored weight."""
        raise NotImplementedError

    @property
    def nonzero(self) -> np.ndarray:
        """Return where the code is not that of zero: bool of `shape`."""
        raise NotImplementedError

    def _head(self, sparse: bool = False) -> bytes:
        raise NotImplementedError

    def _write(self, codes: np.ndarray) -> bytes:
        raise NotImplementedError

    def _body(self) -> bytes:
        return self._head() + self._write(self.codes.reshape(-1))

    @cached_property
    def _size(self) -> int:
        return len(self._head()) + packed_size(self.codes.size, self.code_bits)


@dataclass(frozen=True, eq=False)
class Dense(Values):
    """Float32 weights as they are."""

    values: np.ndarray  # float32

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32:
            raise TypeError(f"Dense needs float32, not {self.values.dtype}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.values.shape

    def decode(self) -> np.ndarray:
        """Return the weights themselves, not a copy."""
        return self.values

    @property
    def codes(self) -> np.ndarray:  # noqa: D102
        return self.values

    @property
    def code_bits(self) -> int:  # noqa: D102
        return 32

    @property
    def nonzero(self) -> np.ndarray:
        """Everything but +0.0: the bits of -0.0 are kept."""
        found: np.ndarray = np.ascontiguousarray(self.values).view(np.uint32) != 0
        return found

    def _head(self, sparse: bool = False) -> bytes:
        return bytes([_DENSE | (_SPARSE if sparse else 0)]) + pack_shape(self.shape)

    def _write(self, codes: np.ndarray) -> bytes:
        return codes.astype("<f4").tobytes()


@dataclass(frozen=True, eq=False)
class Grid(Values):
    """Integers on a uniform grid: `weight = q * scale`, scales along `axis` or one for all.

    weight (8, 4, 3, 3), axis 0 -> scale (8,); axis None -> scale (1,).
    """

    q: np.ndarray  # int8, shape of the weight, within [-(2^(bits-1)-1), 2^(bits-1)-1]
    scale: np.ndarray  # float32 (channels,) or (1,)
    axis: int | None  # None = per-tensor
    width: int  # bits of a stored integer, 2..8

    def __post_init__(self) -> None:
        if self.q.dtype != np.int8 or self.scale.dtype != np.float32:
            raise TypeError(f"Grid needs int8 and float32, not {self.q.dtype} and {self.scale.dtype}")
        if not 2 <= self.width <= 8 or self.scale.shape != (_channels(self.q.shape, self.axis),):
            raise ValueError(f"Grid {self.q.shape}: scales {self.scale.shape}, axis {self.axis}, {self.width} bits")
        if self.q.size and max(int(self.q.max()), -int(self.q.min())) > levels(self.width):
            raise ValueError(f"Grid: integers outside {self.width} bits")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.q.shape

    def decode(self) -> np.ndarray:
        """Return `float32(q) * scale`, one rounding."""
        decoded: np.ndarray = self.q.astype(np.float32) * along(self.scale, self.q.ndim, self.axis)
        return decoded

    @property
    def codes(self) -> np.ndarray:  # noqa: D102
        return self.q

    @property
    def code_bits(self) -> int:  # noqa: D102
        return self.width

    @property
    def nonzero(self) -> np.ndarray:  # noqa: D102
        found: np.ndarray = self.q != 0
        return found

    def _head(self, sparse: bool = False) -> bytes:
        place = 0 if self.axis is None else self.axis + 1
        head = bytes([_GRID | (_SPARSE if sparse else 0)]) + pack_shape(self.shape) + bytes([self.width | place << 4])
        return head + self.scale.astype("<f4").tobytes()

    def _write(self, codes: np.ndarray) -> bytes:
        return pack_integers(codes, self.width)


@dataclass(frozen=True, eq=False)
class Sparse(Encoding):
    """A mask over another encoding: zeros stay zero, `values` holds the kept ones densely or as a Grid.

    Packed in the smallest of several forms; where plain values are smaller, `pack()` gives those
    (the saving is zero then, and `unpack` a Dense or Grid). A kept weight that is zero is packed
    as a pruned one: only the decoded weights come back, not the difference.
    """

    mask: np.ndarray  # bool, True = kept
    values: Encoding  # same shape as mask; what lies under False is ignored

    def __post_init__(self) -> None:
        if not isinstance(self.values, Values):
            raise TypeError(f"Sparse lies over Dense or Grid, not {type(self.values).__name__}")
        if self.mask.dtype != np.bool_ or self.mask.shape != self.values.shape:
            raise ValueError(f"mask {self.mask.shape} {self.mask.dtype} over weights {self.values.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.mask.shape

    def decode(self) -> np.ndarray:
        """Return the weights with exact zeros where the mask is False."""
        return np.where(self.mask, self.values.decode(), np.float32(0))

    @property
    def _inner(self) -> Values:
        assert isinstance(self.values, Values)
        return self.values

    @cached_property
    def _choice(self) -> tuple[sparsity.Form | None, int]:
        """Smallest form (None = plain values) and the size of everything behind the head."""
        inner = self._inner
        form, size = sparsity.choose(self.mask & inner.nonzero, inner.code_bits)
        plain = packed_size(self.mask.size, inner.code_bits)
        return (form, size + 1) if size + 1 < plain else (None, plain)

    @cached_property
    def _size(self) -> int:
        return len(self._inner._head()) + self._choice[1]

    def _body(self) -> bytes:
        inner = self._inner
        form = self._choice[0]
        codes = np.where(self.mask, inner.codes, inner.codes.dtype.type(0))
        if form is None:
            return inner._head() + inner._write(codes.reshape(-1))
        mask, stored = sparsity.write(self.mask & inner.nonzero, form)
        values = inner._write(sparsity.arrange(codes, form)[stored])
        return inner._head(sparse=True) + bytes([form.byte]) + mask + values


def levels(width: int) -> int:
    """Return the largest integer of a symmetric grid: 127 for 8 bits, 1 for 2."""
    return (1 << (width - 1)) - 1


def along(scale: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    """Scales (channels,) in a shape that multiplies a weight: axis 1 of rank 4 -> (1, channels, 1, 1)."""
    shape = [1] * rank
    if axis is not None:
        shape[axis] = -1
    return scale.reshape(shape)


def _channels(shape: tuple[int, ...], axis: int | None) -> int:
    return 1 if axis is None else shape[axis]


def unpack(content: bytes, limit: int = LIMIT) -> Encoding:
    """Encoding from `pack()`; raises FileError for anything that is not exactly one, or over `limit` weights."""
    body = content[:-CHECK]
    if len(content) <= CHECK or zlib.crc32(body).to_bytes(CHECK, "little") != bytes(content[-CHECK:]):
        raise damaged("their check sum does not fit")
    reader = Reader(body)
    encoding = _read(reader, limit)
    if reader.left or encoding._body() != body:
        raise damaged("they are not in the form that the studio writes")
    return encoding


def _read(reader: Reader, limit: int) -> Encoding:
    kind = reader.byte()
    if kind & ~_SPARSE not in (_DENSE, _GRID):
        raise damaged(f"unknown kind {kind}")
    shape = reader.shape(limit)
    if kind & ~_SPARSE == _DENSE:
        return _read_values(reader, shape, bool(kind & _SPARSE), 32, None)
    parameters = reader.byte()
    width, axis = parameters & 15, (parameters >> 4) - 1
    if not 2 <= width <= 8 or axis >= len(shape):
        raise damaged(f"{width} bits along axis {axis}")
    place = axis if axis >= 0 else None
    scale = reader.floats(_channels(shape, place))
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise damaged("a scale is not a positive number")
    return _read_values(reader, shape, bool(kind & _SPARSE), width, (scale, place))


def _read_values(
    reader: Reader, shape: tuple[int, ...], sparse: bool, width: int, grid: tuple[np.ndarray, int | None] | None
) -> Encoding:
    if not sparse:
        return _values(_codes(reader, int(np.prod(shape, dtype=np.int64)), width).reshape(shape), width, grid)
    form = sparsity.Form.from_byte(reader.byte(), shape)
    stored = sparsity.read(reader, shape, form)
    codes = _codes(reader, int(stored.sum()), width)
    units = np.zeros(stored.shape, codes.dtype)
    units[stored] = codes
    inner = _values(sparsity.restore(units, shape, form), width, grid)
    return Sparse(inner.nonzero, inner)


def _codes(reader: Reader, count: int, width: int) -> np.ndarray:
    return reader.floats(count) if width == 32 else signed(reader.integers(count, width), width)


def _values(codes: np.ndarray, width: int, grid: tuple[np.ndarray, int | None] | None) -> Values:
    if grid is None:
        return Dense(codes)
    if codes.size and int(codes.min()) < -levels(width):
        raise damaged(f"an integer is outside {width} bits")
    return Grid(codes, grid[0], grid[1], width)
