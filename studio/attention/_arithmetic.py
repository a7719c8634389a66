"""The integer operations that selectors are made of, so that one description runs everywhere.

A selector says what it computes through an `Arithmetic`; `Numpy` computes it, and the ONNX writer
has a second one that records it as a graph: same box, bit for bit. Values are int32 until
`cumulative`, which widens to int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Tensor = Any
"""An array of `Numpy`, or the name of a tensor in a graph that is being written."""


class Arithmetic(Protocol):
    """Exact integer operations on tensors of fixed shape."""

    def constant(self, values: Any) -> Tensor:
        """Int32 numbers as a tensor."""

    def integers(self, x: Tensor) -> Tensor:
        """Uint8 -> int32."""

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a + b."""

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a - b."""

    def multiply(self, a: Tensor, factor: int) -> Tensor:
        """Return a * factor, in the type of a."""

    def divide(self, a: Tensor, divisor: int) -> Tensor:
        """Return a // divisor for a >= 0, in the type of a."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the larger of both, value by value."""

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the smaller of both, value by value."""

    def absolute(self, a: Tensor) -> Tensor:
        """|a|."""

    def positive(self, a: Tensor) -> Tensor:
        """Return a where it is above 0, else 0, in the type of a."""

    def take(self, a: Tensor, indices: Sequence[int], axis: int) -> Tensor:
        """Rows or columns by their number; the axis stays."""

    def plane(self, a: Tensor, channel: int) -> Tensor:
        """(h, w, c) -> (h, w): one channel."""

    def block_sums(self, a: Tensor, shape: tuple[int, int], size: int) -> Tensor:
        """(h, w) -> `shape`: sums over blocks of size x size; rows and columns left over are dropped."""

    def pad(self, a: Tensor, before: int, after: int) -> Tensor:
        """(h, w) -> (before + h + after, before + w + after) with zeros."""

    def cumulative(self, a: Tensor) -> Tensor:
        """(h, w) int32 -> int64: sums over everything above and left, inclusive."""

    def first_maximum(self, a: Tensor) -> Tensor:
        """(h, w) -> (1,) int64: place of the largest value in row-major order, the first of equals."""

    def at(self, a: Tensor, place: Tensor) -> Tensor:
        """Value at a row-major place: (h, w) -> (1,)."""


class Numpy:
    """The operations as numpy does them."""

    def constant(self, values: Any) -> Tensor:
        """Int32 numbers as an array."""
        return np.asarray(values, np.int32)

    def integers(self, x: np.ndarray) -> Tensor:
        """Uint8 -> int32."""
        return x.astype(np.int32)

    def add(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """Return a + b."""
        return np.add(a, b)

    def subtract(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """Return a - b."""
        return np.subtract(a, b)

    def multiply(self, a: np.ndarray, factor: int) -> Tensor:
        """Return a * factor, in the type of a."""
        return np.multiply(a, factor, dtype=a.dtype)

    def divide(self, a: np.ndarray, divisor: int) -> Tensor:
        """Return a // divisor for a >= 0, in the type of a."""
        return np.floor_divide(a, divisor, dtype=a.dtype)

    def maximum(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """Return the larger of both, value by value."""
        return np.maximum(a, b)

    def minimum(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """Return the smaller of both, value by value."""
        return np.minimum(a, b)

    def absolute(self, a: np.ndarray) -> Tensor:
        """|a|."""
        return np.abs(a)

    def positive(self, a: np.ndarray) -> Tensor:
        """Return a where it is above 0, else 0, in the type of a."""
        return np.maximum(a, 0)

    def take(self, a: np.ndarray, indices: Sequence[int], axis: int) -> Tensor:
        """Rows or columns by their number; the axis stays."""
        return a.take(np.asarray(indices), axis)

    def plane(self, a: np.ndarray, channel: int) -> Tensor:
        """(h, w, c) -> (h, w): one channel."""
        return a[..., channel]

    def block_sums(self, a: np.ndarray, shape: tuple[int, int], size: int) -> Tensor:
        """(h, w) -> `shape`: sums over blocks of size x size; rows and columns left over are dropped."""
        if size == 1:
            return a
        rows, columns = shape
        blocks = a[: rows * size, : columns * size].reshape(rows, size, columns, size)
        return blocks.sum((1, 3), dtype=a.dtype)

    def pad(self, a: np.ndarray, before: int, after: int) -> Tensor:
        """(h, w) -> (before + h + after, before + w + after) with zeros."""
        return np.pad(a, (before, after))

    def cumulative(self, a: np.ndarray) -> Tensor:
        """(h, w) int32 -> int64: sums over everything above and left, inclusive."""
        return np.cumsum(np.cumsum(a, 0, dtype=np.int64), 1)

    def first_maximum(self, a: np.ndarray) -> Tensor:
        """(h, w) -> (1,) int64: place of the largest value in row-major order, the first of equals."""
        return np.array([a.argmax()], np.int64)

    def at(self, a: np.ndarray, place: np.ndarray) -> Tensor:
        """Value at a row-major place: (h, w) -> (1,)."""
        return a.ravel()[place]
