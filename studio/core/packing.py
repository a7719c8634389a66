"""Bits and bytes of packed weights: integers of 0 to 8 bits without gaps, short counts, a careful reader."""

from __future__ import annotations

import numpy as np

from studio.core.errors import FileError

MAX_RANK = 8


def packed_size(count: int, width: int) -> int:
    """Bytes of `count` integers of `width` bits."""
    return (count * width + 7) // 8


def pack_integers(values: np.ndarray, width: int) -> bytes:
    """Integers at `width` bits each, lowest bit first, the last byte filled with zeros.

    values: (n,) of any integer type; only the low `width` (0..8) bits of each are stored.
    Eight values always fill `width` whole bytes, so each eight are put into one 64-bit word.
    """
    groups = -(-len(values) // 8)
    lanes = np.zeros((groups, 8), np.uint64)
    lanes.reshape(-1)[: len(values)] = values.astype(np.uint8) & np.uint8((1 << width) - 1)
    words = lanes[:, 0].astype("<u8")
    for place in range(1, 8):
        words |= lanes[:, place] << np.uint64(place * width)
    content = words.view(np.uint8).reshape(groups, 8)[:, :width].tobytes()
    return content[: packed_size(len(values), width)]


def unpack_integers(content: bytes | memoryview, count: int, width: int) -> np.ndarray:
    """Inverse of `pack_integers`: (count,) uint8. `content` holds exactly `packed_size(count, width)` bytes."""
    groups = -(-count // 8)
    padded = np.zeros(groups * width, np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    words = np.zeros((groups, 8), np.uint8)
    words[:, :width] = padded.reshape(groups, width)
    lanes = words.view("<u8").reshape(groups)
    values = np.empty((groups, 8), np.uint8)
    for place in range(8):
        values[:, place] = (lanes >> np.uint64(place * width)) & np.uint64((1 << width) - 1)
    return values.reshape(-1)[:count]


def signed(values: np.ndarray, width: int) -> np.ndarray:
    """Two's complement of `width` bits in uint8 -> int8."""
    spare = 8 - width
    shifted: np.ndarray = (values << np.uint8(spare)).astype(np.uint8).view(np.int8) >> np.int8(spare)
    return shifted


def pack_count(value: int) -> bytes:
    """A count in as few bytes as it needs: seven bits a byte, lowest first, the high bit says "more"."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)


def pack_shape(shape: tuple[int, ...]) -> bytes:
    """Rank, then every length."""
    return bytes([len(shape)]) + b"".join(pack_count(length) for length in shape)


def damaged(what: str) -> FileError:
    """Return the one error of this module."""
    return FileError(f"the packed weights are damaged: {what}.", remedy="Export the model again.")


class Reader:
    """Reads on from a place in the content; raises FileError instead of reading past its end."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = memoryview(content)
        self._place = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._content) - self._place

    def peek(self) -> memoryview:
        """All that is left, without moving on."""
        return self._content[self._place :]

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes, without copying them."""
        if count > self.left:
            raise damaged("the content ends too early")
        part = self._content[self._place : self._place + count]
        self._place += count
        return part

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def count(self) -> int:
        """Inverse of `pack_count`, at most 2^35 - 1."""
        value = 0
        for place in range(0, 35, 7):
            part = self.byte()
            value |= (part & 0x7F) << place
            if part < 0x80:
                return value
        raise damaged("a length is too large")

    def shape(self, limit: int) -> tuple[int, ...]:
        """Inverse of `pack_shape`; refuses more than `limit` elements before anything is allocated."""
        rank = self.byte()
        if rank > MAX_RANK:
            raise damaged(f"{rank} dimensions")
        shape = tuple(self.count() for _ in range(rank))
        elements = 1
        for length in shape:
            elements *= max(length, 1)
        if elements > limit:
            raise damaged(f"{elements:,} weights are more than the {limit:,} allowed")
        return shape

    def floats(self, count: int) -> np.ndarray:
        """(count,) float32, a copy."""
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def scales(self, count: int) -> np.ndarray:
        """(count,) float32, all of them positive numbers."""
        scale = self.floats(count)
        if not (np.isfinite(scale) & (scale > 0)).all():
            raise damaged("a scale is not a positive number")
        return scale

    def integers(self, count: int, width: int) -> np.ndarray:
        """(count,) uint8 of `width` bits each."""
        return unpack_integers(self.take(packed_size(count, width)), count, width)
