"""What a session tells its faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studio.core.plan import Plan
from studio.core.result import Result


@dataclass(frozen=True)
class Progress:
    """Work that runs; `total` 0 where the length is not known."""

    title: str
    done: int
    total: int
    unit: str = "samples"


@dataclass(frozen=True)
class Notice:
    """Something the user should know; `detail` is for copying into a report."""

    level: Literal["info", "warning", "error"]
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Measured:
    """A plan that was measured: one dot of the trade-off plot."""

    plan: Plan
    result: Result
    label: str


@dataclass(frozen=True)
class Effect:
    """Whole model with one step on minus off, all else as set."""

    bytes: int
    points: float | None  # difference of the metric as a fraction, measured on `samples`
    samples: int
