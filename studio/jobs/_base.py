"""What a job is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.settings import Settings
    from studio.core.state import State
    from studio.engine.engine import Engine


@dataclass(frozen=True)
class Report:
    """How far a job is: one point of its curves. `values`: by curve, "loss", "validation", "without teacher" ..."""

    step: int
    steps: int
    epoch: int
    values: Mapping[str, float]
    seconds_left: float | None = None


class Checkpoints(Protocol):
    """Where a job keeps what it needs to go on after it was killed; the file is written atomically."""

    def load(self) -> Mapping[str, Any] | None:
        """Return what `save` kept last: tensors and JSON values by name, or None at the first start."""

    def due(self) -> bool:
        """True where the last save is so long ago that more than 30 s of work would be lost."""

    def save(self, content: Mapping[str, Any]) -> None:
        """Keep torch tensors and JSON values; raises FileError on a full disk, the last checkpoint then stays."""


@dataclass(frozen=True)
class Task:
    """One run of a job.

    `engine`: with the training data as source "train". `plan`: what is trained, with `plan.state` the
    state of the job before it, if any. `stop()`: raises Cancelled when the user wants to end, blocks
    while the job is paused; to be called once a batch.
    """

    engine: Engine
    plan: Plan
    settings: Any
    report: Callable[[Report], None]
    checkpoints: Checkpoints
    stop: Callable[[], None]


class Job(Protocol):
    """One file in `studio/jobs`, registered as `JOB`."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    settings: ClassVar[type[Settings]]
    in_float: ClassVar[bool]
    """True where it leaves out the rounding of the plan, which then comes after it."""

    def refuses(self, engine: Engine, plan: Plan, settings: Any) -> str | None:
        """Reason why the job cannot run on this plan and data, as a sentence; None where it can."""

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Settings that change nothing beside the others, and why, as a sentence."""

    def run(self, task: Task) -> State:
        """Train, from the last checkpoint where there is one, to the same result; raises Cancelled or StudioError."""
