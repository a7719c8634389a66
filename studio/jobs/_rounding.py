"""Rounding to a grid whose step size is learned (LSQ, Esser et al. 2020), straight through for the values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Levels:
    """Numbers that a value over its scale is rounded to: the whole ones from low to high, or those of `table`."""

    low: float
    high: float
    table: Tensor | None = None  # ascending

    def nearest(self, ratio: Tensor) -> Tensor:
        """Nearest level, float32; ties to even between whole numbers, else upwards."""
        if self.table is None:
            return ratio.round().clamp_(self.low, self.high)
        middles = (self.table[1:] + self.table[:-1]) / 2
        return self.table[torch.bucketize(ratio, middles, right=True)]


def grid_levels(width: int, power_of_two: bool = False) -> Levels:
    """Levels of a `Grid`: |q| <= 2^(width-1) - 1; width 1: -1 and 1; powers of two: 0 and +-2^k."""
    if power_of_two:
        powers = [float(2**k) for k in range((1 << (width - 1)) - 1)]
        return Levels(-powers[-1], powers[-1], torch.tensor([-p for p in reversed(powers)] + [0.0, *powers]))
    if width == 1:
        return Levels(-1.0, 1.0, torch.tensor([-1.0, 1.0]))
    most = float((1 << (width - 1)) - 1)
    return Levels(-most, most)


class _Rounded(torch.autograd.Function):
    """Gradients: of x that of a clamp, of the scale as in LSQ, equation 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
        ratio = x / scale
        level = levels.nearest(ratio)
        inside = (ratio >= levels.low) & (ratio <= levels.high)
        ctx.save_for_backward(inside, torch.where(inside, level - ratio, level))
        ctx.shape = scale.shape
        return level * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        inside, by_scale = ctx.saved_tensors
        of_x = gradient * inside if ctx.needs_input_grad[0] else None
        of_scale = (gradient * by_scale).sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return of_x, of_scale, None


def rounded(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """`level * scale` with the level nearest to `x / scale`; `scale` broadcasts against x."""
    return cast(Tensor, _Rounded.apply(x, scale, levels))  # type: ignore[no-untyped-call]
