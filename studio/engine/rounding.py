"""Which way each weight is rounded, learned from what the layer gives (AdaRound, Nagel et al. 2020).

Rounding each weight to the nearest level is not what brings the layer's output nearest: errors of
neighbours add up. Every weight gets a number between 0 (the level below) and 1 (the one above), and the
squared error of the output behind its activation is made small over those numbers and the bias, while
a penalty drives them to the ends. Then scales and bias are fitted to the integers by least squares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from studio.core.errors import Cancelled

Bounds = tuple[float, float]
Scales = Literal["own", "shared", "fixed"]
"""Each output channel has a scale of its own, all have one, or they stay as they are."""
ROWS, LEAST_ROWS = 2048, 256
"""Rows of one step: fewer for layers of many weights, down to the least."""
PRODUCTS = 1 << 28
"""Rows times weights of one step beyond which rows become fewer."""
RATE, BIAS_RATE = 0.05, 0.01
"""Adam's step for the numbers, and for the bias in standard deviations of the layer's output."""
WARM = 0.2
"""Share of the steps without penalty."""
PENALTY = 3.0
SHARP, FLAT = 20.0, 2.0
"""Exponent of the penalty at its begin, where all but the ends is nearly free, and at its end."""
STRETCH = 1.2
"""The sigmoid is stretched beyond 0..1 and clipped, so that the ends are reached."""
REFITS = 3
NARROWEST = 0.5
"""A scale is not fitted below this share of what it was."""


@dataclass(frozen=True, eq=False)
class Task:
    """One layer's fit; groups of channels that do not mix lie along axis 0.

    `rows`: (groups, R, values) what R places of the output look at, behind the compressed layers before;
    `targets`: (groups, R, outputs) the float network's output there; `weight`: (groups, outputs, values)
    float; `lower`, `upper`: of that shape, the levels around each weight, equal where there is no choice.
    """

    rows: Tensor
    targets: Tensor
    weight: Tensor
    lower: Tensor
    upper: Tensor
    bias: Tensor  # (groups, 1, outputs)
    bounds: Bounds | None  # of the activation that alone reads the output

    def activated(self, y: Tensor) -> Tensor:
        """Output behind the activation."""
        return y if self.bounds is None else y.clamp(*self.bounds)

    def live(self, y: Tensor) -> Tensor:
        """Where a change of the output changes what stands behind the activation."""
        if self.bounds is None:
            return torch.ones_like(y, dtype=torch.bool)
        return (y > self.bounds[0]) & (y < self.bounds[1])

    def errors(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Mean squared error of each output channel, (groups, 1, outputs)."""
        y = torch.baddbmm(bias, self.rows, weight.transpose(1, 2))
        return (self.activated(y) - self.activated(self.targets)).square().mean(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Fit:
    """`above`: bool of the weight's shape, True = the level above; `factor`: (groups, outputs, 1) on the scales."""

    above: Tensor
    factor: Tensor
    bias: Tensor


def fit(
    task: Task, steps: int, generator: torch.Generator, *, scales: Scales = "own",
    stop: Callable[[], bool] | None = None, progress: Callable[[int], None] | None = None,
) -> Fit:  # fmt: skip
    """Learn the rounding of one layer in `steps` steps; never worse on `rows` than the nearest levels.

    `progress(step)` after each; raises Cancelled when `stop()` says so.
    """
    nearest = (task.upper - task.weight).abs() < (task.weight - task.lower).abs()
    bias = centred(task, _chosen(task, nearest))
    above, learned = _learn(task, bias, steps, generator, stop, progress)
    found = _refit(task, above, learned, scales)
    plain = _refit(task, nearest, bias, scales)
    return found if _error(task, found) <= _error(task, plain) else plain


def centred(task: Task, weight: Tensor) -> Tensor:
    """Bias with which the mean of each output channel is the float network's (Nagel et al. 2019, section 4.2)."""
    y = torch.bmm(task.rows, weight.transpose(1, 2))
    return (task.targets - y).mean(1, keepdim=True)


def _chosen(task: Task, above: Tensor) -> Tensor:
    return torch.where(above, task.upper, task.lower)


def _error(task: Task, found: Fit) -> float:
    return float(task.errors(_chosen(task, found.above) * found.factor, found.bias).mean())


def _learn(
    task: Task, start: Tensor, steps: int, generator: torch.Generator,
    stop: Callable[[], bool] | None, progress: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Levels above and bias after gradient descent on random rows, shuffled once: picking them anew costs more."""
    gap = task.upper - task.lower
    numbers = _inverse((task.weight - task.lower) / gap.where(gap > 0, torch.ones_like(gap))).requires_grad_()
    bias = start.clone().requires_grad_()
    spread = float(task.targets.std(1).mean()) if task.targets.shape[1] > 1 else 1.0
    optimizer = torch.optim.Adam(
        [{"params": [numbers], "lr": RATE}, {"params": [bias], "lr": BIAS_RATE * max(spread, 1e-12)}], betas=(0.9, 0.95)
    )
    order = torch.randperm(task.rows.shape[1], generator=generator)
    rows, targets = task.rows[:, order], task.activated(task.targets)[:, order]
    count = min(ROWS, max(LEAST_ROWS, PRODUCTS // task.weight.numel()))
    error = float(task.errors(_chosen(task, numbers.detach() >= 0), start).mean())
    for step in range(steps):
        if stop and stop():
            raise Cancelled
        begin = step * count % max(1, len(order) - count + 1)
        now = slice(begin, begin + count)
        with torch.enable_grad():
            share = _share(numbers)
            y = torch.baddbmm(bias, rows[:, now], (task.lower + share * gap).transpose(1, 2))
            loss = (task.activated(y) - targets[:, now]).square().mean() / max(error, 1e-30)
            loss = loss + _penalty(share, step / steps)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress:
            progress(step + 1)
    return numbers.detach() >= 0, bias.detach()


def _share(numbers: Tensor) -> Tensor:
    """Place between the level below (0) and the one above (1); 0.5 at the number 0."""
    return (STRETCH * torch.sigmoid(numbers) - (STRETCH - 1) / 2).clamp(0, 1)


def _inverse(share: Tensor) -> Tensor:
    """Numbers at which `_share` is what the weight says."""
    return torch.logit((share.clamp(1e-3, 1 - 1e-3) + (STRETCH - 1) / 2) / STRETCH)


def _penalty(share: Tensor, done: float) -> Tensor | float:
    if done < WARM:
        return 0.0
    exponent = SHARP + (FLAT - SHARP) * (done - WARM) / (1 - WARM)
    return PENALTY * (1 - (2 * share - 1).abs().pow(exponent)).mean()


def _refit(task: Task, above: Tensor, bias: Tensor, scales: Scales) -> Fit:
    """Factor on each channel's scale and its bias by least squares where the activation is not at its bounds.

    A few rounds, since which rows count depends on the fit; a channel takes a round only where its error falls.
    """
    levels = _chosen(task, above)
    factor = torch.ones(*levels.shape[:2], 1)
    z = torch.bmm(task.rows, levels.transpose(1, 2))
    error = task.errors(levels, bias)
    for _ in range(REFITS):
        change, shift = _least_squares(task, z, factor, bias, scales)
        wider, moved = (factor + change.transpose(1, 2)).clamp(min=NARROWEST), bias + shift
        now = task.errors(levels * wider, moved)
        wins = (now.sum() < error.sum()).expand_as(now) if scales == "shared" else now < error
        factor = torch.where(wins.transpose(1, 2), wider, factor)
        bias, error = torch.where(wins, moved, bias), torch.where(wins, now, error)
    return Fit(above, factor, bias)


def _least_squares(task: Task, z: Tensor, factor: Tensor, bias: Tensor, scales: Scales) -> tuple[Tensor, Tensor]:
    """Changes of factor and bias, (groups, 1, outputs) each: the residual regressed on the products `z`."""
    y = z * factor.transpose(1, 2) + bias
    residual = task.activated(task.targets) - task.activated(y)
    live = task.live(y) | task.live(task.targets)
    count = live.sum(1, keepdim=True).clamp(min=1)
    mean_z, mean_r = ((live * v).sum(1, keepdim=True) / count for v in (z, residual))
    if scales == "fixed":
        return torch.zeros_like(mean_r), mean_r
    above = (live * (z - mean_z) * (residual - mean_r)).sum(1, keepdim=True)
    below = (live * (z - mean_z).square()).sum(1, keepdim=True)
    if scales == "shared":
        above, below = above.sum().expand_as(above), below.sum().expand_as(below)
    change = torch.where(below > 0, above / below.clamp(min=1e-30), torch.zeros_like(below))
    return change, mean_r - change * mean_z
