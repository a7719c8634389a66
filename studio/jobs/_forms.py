"""Forms that trained weights take in the forward pass: integers on a grid, values shared from a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studio.core.encoding import Codebook, Encoding, Grid, innermost
from studio.jobs._rounding import Levels, grid_levels, rounded

NARROWEST, WIDEST = 1 / 16, 16.0
"""A learned scale stays within these multiples of what it started from."""


class Form(Protocol):
    """How one layer's weight is stored, as something to train through.

    `tensors`: what a checkpoint holds, by name; `scales`: trained step sizes, relative to their start;
    `values`: trained shared values; `by_channel`: every output channel has a scale of its own.
    """

    tensors: dict[str, Tensor]
    scales: list[Tensor]
    values: list[Tensor]
    by_channel: bool

    def begin(self, latent: Tensor) -> Tensor:
        """Latent numbers whose `weight` is the encoding as it is, near those that are given."""

    def weight(self, latent: Tensor) -> Tensor:
        """Weight that is used, of the latent's shape, differentiable."""

    def encode(self, latent: Tensor) -> Encoding:
        """Encoding that decodes to exactly `weight(latent)`."""

    def steps(self) -> Tensor:
        """Scale of the integers, (channels,) or (1,), without gradients; 1 where there are none."""

    def rescale(self, factor: Tensor) -> None:
        """Multiply what is stored by a factor for each output channel; only where there is such a scale."""

    def limit(self) -> None:
        """Bring what a step moved too far back."""

    def settle(self, latent: Tensor, share: float) -> None:
        """Bring latent numbers nearer to what is stored of them, by this share of the distance, in place."""


class GridForm:
    """Integers times learned scales; binary, ternary and powers of two too."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._levels = grid_levels(grid.width, grid.power_of_two)
        self._start = torch.from_numpy(grid.scale.copy())
        self._factor = torch.ones_like(self._start).requires_grad_()
        self.tensors = {"start": self._start, "scale": self._factor}
        self.scales = [self._factor]
        self.values: list[Tensor] = []
        self.by_channel = grid.axis is not None

    def begin(self, latent: Tensor) -> Tensor:
        """Where learned rounding went to another level than the nearest, that one."""
        scale, stored = spread(self._start, self._grid), torch.from_numpy(self._grid.q.astype(np.float32))
        return torch.where(self._levels.nearest(latent / scale) == stored, latent, stored * scale)

    def weight(self, latent: Tensor) -> Tensor:
        return rounded(latent, spread(self._start * self._factor, self._grid), self._levels)

    def encode(self, latent: Tensor) -> Encoding:
        with torch.no_grad():
            scale = self._start * self._factor
            q = self._levels.nearest(latent / spread(scale, self._grid))
        return replace(self._grid, q=q.numpy().astype(np.int8), scale=scale.numpy().copy())

    def steps(self) -> Tensor:
        return (self._start * self._factor).detach()

    def rescale(self, factor: Tensor) -> None:
        self._start.mul_(factor if self._grid.group is None else factor[:, None])

    def limit(self) -> None:
        self._factor.clamp_(NARROWEST, WIDEST)

    def settle(self, latent: Tensor, share: float) -> None:
        with torch.no_grad():
            latent.lerp_(self.weight(latent), share)


def spread(scale: Tensor, grid: Grid) -> Tensor:
    """Scales of a grid in a shape that multiplies its weight."""
    rank = len(grid.shape)
    if grid.group is not None and grid.axis is not None:
        wide = scale.repeat_interleave(grid.group, 1)[:, : grid.shape[1 - grid.axis]]
        return (wide if grid.axis == 0 else wide.t()).reshape(*grid.shape[:2], *[1] * (rank - 2))
    return scale.reshape([-1 if d == grid.axis else 1 for d in range(rank)])


class BookForm:
    """Shared values trained by the summed gradient of their members (Han et al. 2016, section 3).

    Value 0 stays zero where pruned weights have it. With `reassign`, each weight keeps a latent number
    of its own, and `assign` gives it the value that is nearest by then.
    """

    def __init__(self, book: Codebook, reassign: bool = False) -> None:
        self._book, self._reassign = book, reassign
        self._table = torch.from_numpy(book.table.copy()).requires_grad_()
        offset = torch.from_numpy(book.block_of_channel.copy() * book.entries)
        self._offset = offset.reshape([-1 if d == book.axis else 1 for d in range(book.rank)])
        self._indices = torch.from_numpy(book.indices.astype(np.int64))
        self._zero = torch.ones_like(self._table)
        if book.has_zero:
            self._zero[:, 0] = 0
        self._scale = None if book.scale is None else torch.from_numpy(book.scale.copy())[:, None]
        self.tensors = {"values": self._table, "indices": self._indices}
        self.scales: list[Tensor] = []
        self.values = [self._table]
        self.by_channel = False

    def begin(self, latent: Tensor) -> Tensor:
        return latent

    def weight(self, latent: Tensor) -> Tensor:
        found = functional.embedding(self._offset + self._indices, self._stored().reshape(-1, 1)).squeeze(-1)
        return found + (latent - latent.detach()) if self._reassign else found

    def encode(self, latent: Tensor) -> Encoding:
        with torch.no_grad():
            table = self._stored()
            stored = table if self._scale is None else torch.round(table / self._scale)
        centroids = stored.numpy().astype(self._book.centroids.dtype)
        return replace(self._book, indices=self._indices.numpy().astype(np.uint8), centroids=centroids)

    def steps(self) -> Tensor:
        if self._scale is None:
            return torch.ones(1)
        return self._scale[torch.from_numpy(self._book.block_of_channel), 0]

    def rescale(self, factor: Tensor) -> None:
        """Nothing: values are shared by channels."""

    def limit(self) -> None:
        if self._scale is not None:
            most = self._most * self._scale
            self._table.copy_(torch.minimum(torch.maximum(self._table, -most), most))

    def settle(self, latent: Tensor, share: float) -> None:
        """Nothing: a value is where its members want it."""

    def assign(self, latent: Tensor) -> None:
        """Give each weight that is not zero the nearest value of its table."""
        with torch.no_grad():
            table = self._stored()
            first = int(self._book.has_zero)
            for block in range(len(table)):
                own = torch.from_numpy(self._book.block_of_channel == block)
                index = (slice(None),) * self._book.axis + (own,)
                part = latent[index]
                nearest = (part[..., None] - table[block, first:]).abs().argmin(-1) + first
                old = self._indices[index]
                self._indices[index] = torch.where(old < first, old, nearest) if table.shape[1] > first else old

    @property
    def _most(self) -> float:
        return float(np.iinfo(self._book.centroids.dtype).max)

    def _stored(self) -> Tensor:
        """Values as they are stored: rounded to their integers, straight through."""
        table = self._table * self._zero
        return table if self._scale is None else rounded(table, self._scale, Levels(-self._most, self._most))


def form_of(encoding: Encoding, reassign: bool = False) -> Form | None:
    """Form of an encoding below its mask and code; None for float weights."""
    inner = innermost(encoding)
    if isinstance(inner, Grid):
        return GridForm(inner)
    return BookForm(inner, reassign) if isinstance(inner, Codebook) else None
