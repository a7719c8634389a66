"""What was measured or estimated for a plan, never both in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Cost:
    """Sizes of a plan. `flash_bytes`: packed weights + scales + tables + biases, without container and code."""

    flash_bytes: int
    peak_ram_bytes: int  # at the widths deployed, input and output included
    macs: int
    layer_bytes: tuple[tuple[str, int], ...]  # per weighted layer: packed weights + bias


@dataclass(frozen=True)
class Result:
    """Accuracy and sizes of one plan.

    `value` is the metric as a fraction ("top1", or "agreement" with the float model where there are
    no labels); `interval` its 95 % Wilson interval; `delta` the difference to the float model on the
    same samples with its paired 95 % bootstrap interval.
    """

    plan_key: str
    kind: Literal["estimate", "measured"]
    metric: str
    value: float | None
    samples: int
    total: int  # samples there are: `samples < total` means still running
    interval: tuple[float, float] | None
    delta: float | None
    delta_interval: tuple[float, float] | None
    cost: Cost
    quick: str = ""  # what a quick form lacks that stands for the plan, in words ("nearest, not learned")

    @property
    def complete(self) -> bool:
        """True where every sample was run."""
        return self.samples == self.total
