"""Float32 weights as they are, and integers on a grid of levels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from studio.core.encoding_base import DENSE, FLOAT_BITS, GRID, GROUPED, Head, Values
from studio.core.packing import Reader, damaged, pack_count, pack_shape, signed

POWER_WIDTHS = (2, 3, 4)
"""Bits of power-of-two weights: 4 bits reach 2^6, what int8 holds; more bits would only add smaller levels."""
_POWER_OF_TWO = 8  # in the packed width


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
        return FLOAT_BITS

    @property
    def nonzero(self) -> np.ndarray:
        """Everything but +0.0: the bits of -0.0 are kept."""
        found: np.ndarray = np.ascontiguousarray(self.values).view(np.uint32) != 0
        return found

    def head(self, flags: int = 0) -> bytes:  # noqa: D102
        return bytes([DENSE | flags]) + pack_shape(self.shape)


@dataclass(frozen=True, eq=False)
class Grid(Values):
    """Integers times scales: `weight = q * scale`, scales along `axis` or one for all.

    weight (8, 4, 3, 3), axis 0 -> scale (8,); axis None -> scale (1,). With `group`, scales lie along the
    input axis too, which is axis 1 for output channels on axis 0 and the other way round:
    weight (8, 96), axis 0, group 64 -> scale (8, 2), the second for the last 32 inputs.
    Levels: uniform, |q| <= 2^(width-1) - 1; width 1 is binary, q = -1 or 1 and no zero (Courbariaux 2015);
    `power_of_two`: q = 0 or +-2^k, k = 0 .. 2^(width-1) - 2 (Zhou 2017; QKeras' quantized_po2).
    """

    q: np.ndarray  # int8, shape of the weight
    scale: np.ndarray  # float32 (channels,), (1,), or with `group` (channels, groups)
    axis: int | None  # None = per-tensor
    width: int  # bits of a stored integer, 1..8; power_of_two 2..4
    power_of_two: bool = False
    group: int | None = None  # inputs that share a scale

    def __post_init__(self) -> None:
        if self.q.dtype != np.int8 or self.scale.dtype != np.float32:
            raise TypeError(f"Grid needs int8 and float32, not {self.q.dtype} and {self.scale.dtype}")
        widths = POWER_WIDTHS if self.power_of_two else range(1, 9)
        if self.width not in widths or self.scale.shape != scale_shape(self.q.shape, self.axis, self.group):
            raise ValueError(f"Grid {self.q.shape}: scales {self.scale.shape}, axis {self.axis}, {self.width} bits")
        if not _levels(self.width, self.power_of_two)[1][self.q.view(np.uint8)].all():
            raise ValueError(f"Grid: integers outside {self.width} bits")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.q.shape

    def decode(self) -> np.ndarray:
        """Return `float32(q) * scale`, one rounding."""
        if self.group is None or self.axis is None:
            scale = along(self.scale, self.q.ndim, self.axis)
        else:
            scale = _over_inputs(self.scale, self.q.shape, self.axis, self.group)
        decoded: np.ndarray = self.q.astype(np.float32) * scale
        return decoded

    @property
    def codes(self) -> np.ndarray:
        """Two's complement; of a power of two +-2^k the number +-(k + 1); binary: 1 for -1 and 0 for 1."""
        found: np.ndarray = _levels(self.width, self.power_of_two)[2][self.q.view(np.uint8)]
        return found

    @property
    def code_bits(self) -> int:  # noqa: D102
        return self.width

    @property
    def signed(self) -> bool:  # noqa: D102
        return self.width > 1

    @property
    def has_zero(self) -> bool:  # noqa: D102
        return self.width > 1

    @property
    def nonzero(self) -> np.ndarray:  # noqa: D102
        found: np.ndarray = self.q != 0
        return found

    def head(self, flags: int = 0) -> bytes:
        """Kind, shape, width and axis, group, scales."""
        place = 0 if self.axis is None else self.axis + 1
        width = self.width | (_POWER_OF_TWO if self.power_of_two else 0)
        kind = bytes([(GRID if self.group is None else GROUPED) | flags]) + pack_shape(self.shape)
        # Width 8 has the bit of the powers of two: their widths with it are 10, 11, 12.
        group = b"" if self.group is None else pack_count(self.group)
        return kind + bytes([width | place << 4]) + group + self.scale.astype("<f4").tobytes()


def levels(width: int) -> int:
    """Return the largest integer of a symmetric uniform grid: 127 for 8 bits, 1 for 2 and for binary."""
    return max(1, (1 << (width - 1)) - 1)


def along(scale: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    """Scales (channels,) in a shape that multiplies a weight: axis 1 of rank 4 -> (1, channels, 1, 1)."""
    shape = [1] * rank
    if axis is not None:
        shape[axis] = -1
    return scale.reshape(shape)


def scale_shape(shape: tuple[int, ...], axis: int | None, group: int | None) -> tuple[int, ...]:
    """Shape of a grid's scales; () for a group size without an input axis, which no scale has."""
    if group is None:
        return (1,) if axis is None else (shape[axis],)
    if axis not in (0, 1) or len(shape) < 2 or group < 1:
        return ()
    return (shape[axis], -(-shape[1 - axis] // group))


def read_dense(reader: Reader, shape: tuple[int, ...]) -> Head:
    """Nothing stands before the float32 codes."""
    return Head(shape, FLOAT_BITS, False, True, Dense)


def read_grid(reader: Reader, shape: tuple[int, ...], grouped: bool) -> Head:
    """Inverse of `Grid.head` behind kind and shape; raises FileError."""
    parameters = reader.byte()
    packed, axis = parameters & 15, (parameters >> 4) - 1
    power = packed > _POWER_OF_TWO
    width = packed - _POWER_OF_TWO if power else packed
    if width not in (POWER_WIDTHS if power else range(1, 9)) or axis >= len(shape):
        raise damaged(f"{packed} bits along axis {axis}")
    place = axis if axis >= 0 else None
    group = reader.count() if grouped else None
    expected = scale_shape(shape, place, group)
    if not expected:
        raise damaged(f"groups of {group} inputs along axis {axis}")
    scale = reader.scales(int(np.prod(expected, dtype=np.int64))).reshape(expected)

    def make(codes: np.ndarray) -> Grid:
        table, valid = _levels(width, power)[0], _levels(width, power)[3]
        if not valid[codes].all():
            raise damaged(f"an integer is outside {width} bits")
        return Grid(table[codes], scale, place, width, power, group)

    return Head(shape, width, width > 1, width > 1, make)


@cache
def _levels(width: int, power_of_two: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tables: code -> q (2^width,), q as uint8 -> possible (256,), -> code (256,), code -> possible (2^width,)."""
    if width == 1:
        table = np.array([1, -1], np.int8)
        possible = np.ones(2, np.bool_)
    else:
        number = signed(np.arange(1 << width, dtype=np.uint8), width).astype(np.int64)
        possible = number != -(1 << (width - 1))
        powers = np.sign(number) << np.maximum(np.abs(number) - 1, 0) if power_of_two else number
        table = np.where(possible, powers, 0).astype(np.int8)
    valid, codes = np.zeros(256, np.bool_), np.zeros(256, np.uint8)
    valid[table[possible].view(np.uint8)] = True
    codes[table[possible].view(np.uint8)] = np.flatnonzero(possible)
    return table, valid, codes, possible


def _over_inputs(scale: np.ndarray, shape: tuple[int, ...], axis: int, group: int) -> np.ndarray:
    """Scales (channels, groups) of every weight, in a shape that multiplies it."""
    spread = np.repeat(scale, group, axis=1)[:, : shape[1 - axis]]
    return (spread if axis == 0 else spread.T)[(..., *[None] * (len(shape) - 2))]
