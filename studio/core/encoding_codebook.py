"""Weights that share a few values: an index a weight into a table of centroids (Han et al. 2016, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.core.encoding_base import CODEBOOK, Head, Values
from studio.core.packing import Reader, damaged, pack_count, pack_shape

TYPES: dict[int, np.dtype[np.generic]] = {8: np.dtype("<i1"), 16: np.dtype("<i2"), 32: np.dtype("<f4")}
"""Bits of a centroid -> how it is stored."""


@dataclass(frozen=True, eq=False)
class Codebook(Values):
    """`weight = centroids[block, index]`, one table for each block of output channels, or one for all.

    indices (64, 32, 3, 3), axis 0, block 16, 4 bits -> centroids (4, 16): the first table for channels 0..15.
    Centroids are float32, or integers (8 or 16 bits) times one scale a block. Centroid 0 of every
    table is exactly zero where pruned weights have an index of their own.
    """

    indices: np.ndarray  # uint8, shape of the weight
    centroids: np.ndarray  # (blocks, k) int8, int16 or float32, k <= 2^width
    scale: np.ndarray | None  # float32 (blocks,) for integers, None for float32
    width: int  # bits of an index, 1..8
    axis: int = 0  # of the output channels
    block: int = 0  # channels of a block, the last one may have fewer; 0 = all

    def __post_init__(self) -> None:
        if self.indices.dtype != np.uint8 or self.centroids.dtype not in TYPES.values():
            raise TypeError(f"Codebook needs uint8 and a known type, not {self.indices.dtype}, {self.centroids.dtype}")
        if not 1 <= self.width <= 8 or self.centroids.shape != (self.blocks, self.centroids.shape[-1]):
            raise ValueError(f"Codebook {self.shape}: centroids {self.centroids.shape}, {self.width} bits")
        if not 1 <= self.entries <= 1 << self.width or int(self.indices.max(initial=0)) >= self.entries:
            raise ValueError(f"Codebook: indices outside {self.entries} centroids of {self.width} bits")
        floats = self.centroids.dtype == TYPES[32]
        if floats != (self.scale is None) or (self.scale is not None and self.scale.shape != (self.blocks,)):
            raise ValueError("Codebook: integers need one scale a block, float32 none")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.indices.shape

    @property
    def blocks(self) -> int:
        """Number of tables."""
        return blocks_of(self.shape, self.axis, self.block)

    @property
    def entries(self) -> int:
        """Centroids of a table."""
        return int(self.centroids.shape[1])

    @property
    def table(self) -> np.ndarray:
        """Centroids as weights: (blocks, k) float32."""
        if self.scale is None:
            return self.centroids
        found: np.ndarray = self.centroids.astype(np.float32) * self.scale[:, None]
        return found

    def decode(self) -> np.ndarray:
        """Return the centroid of every index, float32."""
        return self.look_up(self.table)

    def look_up(self, table: np.ndarray) -> np.ndarray:
        """Value of every index in tables (blocks, k) of any type: an array of `shape`."""
        if self.blocks == 1:
            single: np.ndarray = table[0][self.indices]
            return single
        first = (self.block_of_channel * self.entries).reshape([-1 if i == self.axis else 1 for i in range(self.rank)])
        found: np.ndarray = table.reshape(-1)[first + self.indices]
        return found

    @property
    def rank(self) -> int:
        """Number of axes of the weight."""
        return self.indices.ndim

    @property
    def block_of_channel(self) -> np.ndarray:
        """Table of each output channel: (channels,) int64."""
        channels = self.shape[self.axis]
        found: np.ndarray = np.arange(channels) // (self.block or max(1, channels))
        return found

    @property
    def codes(self) -> np.ndarray:  # noqa: D102
        return self.indices

    @property
    def code_bits(self) -> int:  # noqa: D102
        return self.width

    @cached_property
    def has_zero(self) -> bool:  # noqa: D102
        return not self.centroids[:, 0].any()

    def head(self, flags: int = 0) -> bytes:
        """Kind, shape, width and kind of centroids, axis, block, entries - 1, scales, centroids."""
        stored = self.centroids.dtype.itemsize
        kind = bytes([CODEBOOK | flags]) + pack_shape(self.shape) + bytes([self.width | stored << 4, self.axis])
        scale = b"" if self.scale is None else self.scale.astype("<f4").tobytes()
        return kind + pack_count(self.block) + bytes([self.entries - 1]) + scale + self.centroids.tobytes()


def blocks_of(shape: tuple[int, ...], axis: int, block: int) -> int:
    """Number of blocks of `block` channels along `axis`; one for block 0."""
    return 1 if block == 0 else max(1, -(-shape[axis] // block))


def read_codebook(reader: Reader, shape: tuple[int, ...]) -> Head:
    """Inverse of `Codebook.head` behind kind and shape; raises FileError."""
    parameters, axis, block = reader.byte(), reader.byte(), reader.count()
    width, stored = parameters & 15, TYPES.get(8 * (parameters >> 4))
    entries = reader.byte() + 1
    if not 1 <= width <= 8 or stored is None or axis >= len(shape) or entries > 1 << width:
        raise damaged(f"{entries} centroids for {width} bits along axis {axis}")
    blocks = blocks_of(shape, axis, block)
    scale = None if stored == TYPES[32] else reader.scales(blocks)
    content = reader.take(blocks * entries * stored.itemsize)
    centroids = np.frombuffer(content, stored).reshape(blocks, entries)
    if not np.isfinite(centroids).all():
        raise damaged("a centroid is not a number")

    def make(codes: np.ndarray) -> Codebook:
        if int(codes.max(initial=0)) >= entries:
            raise damaged("an index without a centroid")
        return Codebook(codes, centroids, scale, width, axis, block)

    return Head(shape, width, False, not centroids[:, 0].any(), make)
