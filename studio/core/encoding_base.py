"""What every encoding is, and what encodings that hold one code a weight share."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.core.packing import pack_integers, packed_size

CHECK = 4  # bytes of the CRC-32 at the end
DENSE, GRID, CODEBOOK, GROUPED = 1, 2, 3, 4
SPARSE, CODED = 16, 32
FLOAT_BITS = 32


@dataclass(frozen=True, eq=False)
class Encoding:
    """Base of the closed set Dense, Grid, Codebook, Sparse, Coded."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        raise NotImplementedError

    def decode(self) -> np.ndarray:
        """Return the weights as float32 of `shape`."""
        raise NotImplementedError

    def pack(self) -> bytes:
        """All that a decoder needs: header, scales, masks, values."""
        body = self.body()
        return body + zlib.crc32(body).to_bytes(CHECK, "little")

    def bits(self) -> int:
        """Real size in bits: eight times the packed bytes, counted without building them."""
        return 8 * (self.size + CHECK)

    def body(self) -> bytes:
        """`pack()` without its check sum."""
        raise NotImplementedError

    @cached_property
    def size(self) -> int:
        """Return len(self.body())."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Values(Encoding):
    """Base of the encodings that hold one code a weight: Dense, Grid, Codebook."""

    @property
    def codes(self) -> np.ndarray:
        """What is stored of each weight, an array of `shape`: float32, or uint8 of which the low `code_bits` count."""
        raise NotImplementedError

    @property
    def code_bits(self) -> int:
        """Bits of one stored weight; 32 for float32."""
        raise NotImplementedError

    @property
    def signed(self) -> bool:
        """True where codes are two's complement integers of which small ones are frequent."""
        return False

    @property
    def has_zero(self) -> bool:
        """True where the code 0 stands for an exact zero."""
        return True

    @property
    def nonzero(self) -> np.ndarray:
        """Bool of `shape`: where the code is not that of zero; all True without such a code."""
        if not self.has_zero:
            return np.ones(self.shape, np.bool_)
        found: np.ndarray = self.codes != 0
        return found

    def head(self, flags: int = 0) -> bytes:
        """Kind with `flags` (SPARSE, CODED), shape, and all but the codes."""
        raise NotImplementedError

    def body(self) -> bytes:  # noqa: D102
        return self.head() + write_codes(self.codes.reshape(-1), self.code_bits)

    @cached_property
    def size(self) -> int:  # noqa: D102
        return len(self.head()) + packed_size(self.codes.size, self.code_bits)


@dataclass(frozen=True)
class Head:
    """What a reader knows before the codes: `make` raises FileError for codes that cannot be."""

    shape: tuple[int, ...]
    code_bits: int
    signed: bool
    has_zero: bool
    make: Callable[[np.ndarray], Values]

    @property
    def code_type(self) -> type[np.generic]:
        """Type of an array of codes."""
        return np.float32 if self.code_bits == FLOAT_BITS else np.uint8


def write_codes(codes: np.ndarray, bits: int) -> bytes:
    """(n,) codes at `bits` each, or float32."""
    return codes.astype("<f4").tobytes() if bits == FLOAT_BITS else pack_integers(codes, bits)


def innermost(encoding: Encoding) -> Values:
    """Weights below all masks and codes: Dense, Grid or Codebook."""
    while not isinstance(encoding, Values):
        encoding = encoding.inner  # type: ignore[attr-defined]
    return encoding
