"""How a layer's weights are stored: a small closed set of encodings that nest.

`decode()` gives the float32 weights, `pack()` the real bytes; `bits()` is eight times their number,
so that nothing shown on screen is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        raise NotImplementedError

    def bits(self) -> int:
        """Real size in bits: eight times the packed bytes."""
        return 8 * len(self.pack())


@dataclass(frozen=True, eq=False)
class Dense(Encoding):
    """Float32 weights as they are."""

    values: np.ndarray  # float32


@dataclass(frozen=True, eq=False)
class Grid(Encoding):
    """Integers on a uniform grid: `weight = (q - zero_point) * scale`, scales along `axis` or one for all."""

    q: np.ndarray  # int8, shape of the weight, within [-(2^(bits-1)-1), 2^(bits-1)-1]
    scale: np.ndarray  # float32 (channels,) or (1,)
    axis: int | None  # None = per-tensor
    width: int  # bits of a stored integer, 2..8


@dataclass(frozen=True, eq=False)
class Sparse(Encoding):
    """A mask over another encoding: zeros stay zero, `values` holds the kept ones densely or as a Grid."""

    mask: np.ndarray  # bool, True = kept
    values: Encoding  # same shape as mask; what lies under False is ignored


def unpack(content: bytes) -> Encoding:
    """Encoding from `pack()`; raises FileError for anything that is not exactly one."""
    raise NotImplementedError
