"""Optimizers of a run, their rates over time, and their state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from studio.jobs._settings import TrainingSettings

WARM = 0.2
"""Share of a one-cycle run in which the rate rises."""
START, END = 1 / 25, 1e-3
"""Rate at the start and at the end of a one-cycle run, as shares of the largest (Smith and Topin 2018)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Tensors that are trained alike. `optimizer` None: as the settings say; `rate`: of its largest step.

    `units`: of each tensor, in a shape that multiplies it; what is trained is the tensor over its unit.
    """

    tensors: Sequence[Tensor]
    units: Sequence[Tensor]
    rate: float
    optimizer: Literal["sgd", "adam"] | None = None
    decay: bool = False


class Optimizers:
    """All groups of a run, stepped together."""

    def __init__(self, groups: Sequence[Group], settings: TrainingSettings) -> None:
        self._settings = settings
        self._groups = [group for group in groups if group.tensors]
        self._trained = [[torch.zeros_like(t, requires_grad=True) for t in group.tensors] for group in self._groups]
        pairs = zip(self._groups, self._trained, strict=True)
        self._all = [_optimizer(group, tensors, settings) for group, tensors in pairs]

    def step(self, loss: Tensor, share: float) -> None:
        """One step down from a loss; `share` of the run is done."""
        for group in self._groups:
            for tensor in group.tensors:
                tensor.grad = None
        torch.autograd.backward(loss)
        now = factor(self._settings.rate_schedule, share)
        with torch.no_grad():
            for group, trained, optimizer in zip(self._groups, self._trained, self._all, strict=True):
                self._step(group, trained, optimizer, group.rate * now)

    def _step(self, group: Group, trained: list[Tensor], optimizer: torch.optim.Optimizer, rate: float) -> None:
        for tensor, unit, own in zip(group.tensors, group.units, trained, strict=True):
            own.copy_(tensor / unit)
            own.grad = None if tensor.grad is None else tensor.grad * unit
        if self._settings.clip:
            torch.nn.utils.clip_grad_norm_(trained, self._settings.clip)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        for tensor, unit, own in zip(group.tensors, group.units, trained, strict=True):
            if own.grad is not None:
                tensor.copy_(own * unit)

    def content(self) -> dict[str, Tensor]:
        """State as tensors: "0:3:momentum_buffer" of the fourth tensor of the first group."""
        return {
            f"{i}:{j}:{name}": value.clone()
            for i, optimizer in enumerate(self._all)
            for j, own in optimizer.state_dict()["state"].items()
            for name, value in own.items()
            if isinstance(value, Tensor)
        }

    def load(self, content: Mapping[str, Tensor]) -> None:
        """Go on from `content()`."""
        for i, optimizer in enumerate(self._all):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in content.items():
                group, tensor, name = key.split(":")
                if int(group) == i:
                    state.setdefault(int(tensor), {})[name] = value.clone()
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def factor(schedule: str, share: float) -> float:
    """Rate at a share (0..1) of the run, relative to the largest."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if schedule == "constant":
        return 1.0
    if share < WARM:
        return _between(START, 1.0, share / WARM)
    return _between(1.0, END, (share - WARM) / (1 - WARM))


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from `first` to `last`."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def _optimizer(group: Group, trained: list[Tensor], settings: TrainingSettings) -> torch.optim.Optimizer:
    decay = settings.weight_decay if group.decay else 0.0
    tensors: Any = trained
    if (group.optimizer or settings.optimizer) == "adam":
        return torch.optim.AdamW(tensors, lr=group.rate, weight_decay=decay)
    momentum = settings.momentum
    return torch.optim.SGD(tensors, lr=group.rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay)
