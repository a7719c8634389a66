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
    """Gradients: of x that of a clamp, of the scale as in LSQ, equation 3.

    In as few passes over memory as eager tensors allow: they cost as much as the convolutions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
        ratio = x / scale
        level = levels.nearest(ratio)
        ctx.save_for_backward(ratio, level)
        ctx.shape, ctx.ends = scale.shape, (levels.low, levels.high)
        return level * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        ratio, level = ctx.saved_tensors
        of_x = torch.ops.aten.hardtanh_backward(gradient, ratio, *ctx.ends)  # zero from the ends on
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = _sum_product(gradient, level, ctx.shape) - _sum_product(of_x, ratio, ctx.shape)
        return of_x if ctx.needs_input_grad[0] else None, of_scale, None


def _sum_product(a: Tensor, b: Tensor, shape: torch.Size) -> Tensor:
    """Sum of `a * b` to a shape; without the product in memory where one number is wanted of tensors laid out alike."""
    layout = torch.channels_last if a.dim() == 4 else torch.contiguous_format
    if shape.numel() == 1 and all(t.is_contiguous(memory_format=layout) for t in (a, b)):
        return torch.dot(*(t.as_strided((t.numel(),), (1,)) for t in (a, b))).reshape(shape)
    return (a * b).sum_to_size(shape)


def rounded(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """`level * scale` with the level nearest to `x / scale`; `scale` broadcasts against x."""
    return cast(Tensor, _Rounded.apply(x, scale, levels))  # type: ignore[no-untyped-call]
