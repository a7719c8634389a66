"""The training loop of all jobs: a function of seed and settings, wherever it was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from studio.core.errors import Cancelled, StudioError
from studio.jobs._base import Report, Task
from studio.jobs._optimizers import Group, Optimizers
from studio.jobs._resume import Keeper, copies, put, tensors_under
from studio.jobs._samples import Samples
from studio.jobs._settings import TrainingSettings

REPORTS = 10
"""Reports of an epoch."""
FIRST = 3
"""Steps after which the time left is known well enough for a first report."""
FORWARD = 1 / 3
"""Part of a step that its forward pass takes; the backward pass is about twice as long."""


def _nothing(step: int, steps: int) -> None:
    """No change before a step."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is trained. `tensors`: all that training changes, by name: what a checkpoint holds.

    `loss(x, labels)`; `measure()`: metric of the network as it is, on the validation samples, 0..1;
    `before(step, steps)` is called before every step, `after()` behind it, without gradients;
    `settled(step, steps)`: False while a validation does not count yet, because masks still tighten;
    `end()` is called behind the last step.
    """

    tensors: Mapping[str, Tensor]
    groups: Sequence[Group]
    loss: Callable[[Tensor, Tensor | None], Tensor]
    measure: Callable[[], float]
    before: Callable[[int, int], None] = _nothing
    after: Callable[[], None] = lambda: None
    settled: Callable[[int, int], bool] = lambda step, steps: True
    end: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Place:
    """Where a lesson stands in its job. `curves`: names of its loss and its validation in the reports.

    `epochs`: of this lesson, 0 = all that the settings say. `begins`: False where it goes on with what the
    lesson before it has trained.
    """

    stage: int = 0
    first: int = 0  # steps of the lessons before it
    steps: int = 0  # of the whole job; 0 = this lesson's
    curves: tuple[str, str] = ("loss", "validation")
    epochs: int = 0
    begins: bool = True


@dataclass
class _Progress:
    """Position and figures of a run, all of which a checkpoint holds."""

    step: int = 0
    total: float = 0.0  # of the losses in this epoch
    curve: list[dict[str, float]] = field(default_factory=list)  # before the first step, then one entry an epoch
    best: float | None = None
    best_epoch: int = 0
    ended: bool = False


class _Clock:
    """Time left, from the steps and validations of this process.

    `guess`: steps that a validation takes as long as, until one was timed.
    """

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._started = time.monotonic()
        self._before = 0.0  # time of the validation before the first step
        self._steps = 0
        self._validating = 0.0
        self._validations = 0

    def stepped(self) -> None:
        self._steps += 1
        if self._steps == 1:  # the first one also makes buffers and reads pictures
            self._started, self._before = time.monotonic(), self._validating

    def validated(self, seconds: float) -> None:
        self._validating += seconds
        self._validations += 1

    def left(self, steps: int, validations: int) -> float | None:
        if self._steps < 2:
            return None
        each = (time.monotonic() - self._started - self._validating + self._before) / (self._steps - 1)
        validation = self._validating / self._validations if self._validations else self._guess * each
        return steps * each + validations * validation


class _Run:
    """One lesson being taught."""

    def __init__(self, task: Task, lesson: Lesson, samples: Samples, keeper: Keeper, place: Place) -> None:
        self.task, self.lesson, self.samples, self.keeper, self.place = task, lesson, samples, keeper, place
        self.settings: TrainingSettings = task.settings
        self.optimizers = Optimizers(lesson.groups, self.settings)
        self.steps = (place.epochs or self.settings.epochs) * samples.batches
        self.at = _Progress()
        self.best: dict[str, Tensor] = {}
        self.clock = _Clock(FORWARD * len(samples.held) / self.settings.batch_size)
        self._recent: list[float] = []
        self._load()

    def run(self) -> list[dict[str, float]]:
        """Train to the end; the lesson's tensors then hold the result.

        Returns the curve: the validation before the first step, then an entry an epoch. With early stopping the one
        whose weights stay is marked as "kept".
        """
        if not self.at.curve and self.place.begins:
            self._validate({})
        while self.at.step < self.steps and not self.at.ended:
            self._pause()
            self._step()
            if self.at.step % self.samples.batches == 0:
                self._epoch()
            if self.keeper.due():
                self._save()
        if self.best:
            put(self.lesson.tensors, self.best)
        self.lesson.end()
        self._check()
        return self.at.curve

    def _pause(self) -> None:
        try:
            self.task.stop()
        except Cancelled:
            self._save()
            raise

    def _step(self) -> None:
        step = self.at.step
        self.lesson.before(step, self.steps)
        x, labels = self.samples.batch(step)
        loss = self.lesson.loss(x, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged()
        self.optimizers.step(loss, step / self.steps)
        with torch.no_grad():
            self.lesson.after()
        self.at.step += 1
        self.at.total += value
        self._recent.append(value)
        self.clock.stepped()
        each = max(1, self.samples.batches // REPORTS)
        if self.at.step % self.samples.batches and (self.at.step % each == 0 or self.clock._steps == FIRST):
            self._report({self.place.curves[0]: sum(self._recent) / len(self._recent)})

    def _epoch(self) -> None:
        loss = self.at.total / self.samples.batches
        self.at.total = 0.0
        self._keep_best(self._validate({"loss": loss}))

    def _validate(self, figures: Mapping[str, float]) -> float:
        """Measure, and tell it beside the figures of the epoch that ends here."""
        started = time.monotonic()
        metric = self.lesson.measure()
        self.clock.validated(time.monotonic() - started)
        self.at.curve.append({"step": self.at.step, **figures, "validation": metric})
        names = {"loss": self.place.curves[0]}
        self._report({**{names[name]: value for name, value in figures.items()}, self.place.curves[1]: metric})
        return metric

    def _keep_best(self, metric: float) -> None:
        """Early stopping: the best settled epoch is what stays."""
        patience, epoch = self.settings.patience, self.at.step // self.samples.batches
        if not patience or not self.lesson.settled(self.at.step, self.steps):
            return
        if self.at.best is None or metric > self.at.best:
            self.at.best, self.at.best_epoch = metric, epoch
            self.best = copies(self.lesson.tensors, "")
            for entry in self.at.curve:
                entry.pop("kept", None)
            self.at.curve[-1]["kept"] = 1.0
        self.at.ended = epoch - self.at.best_epoch >= patience

    def _report(self, values: Mapping[str, float]) -> None:
        self._recent.clear()
        place, batches = self.place, self.samples.batches
        whole = place.steps or self.steps
        left = whole - place.first - self.at.step
        step, epoch = place.first + self.at.step, -(-self.at.step // batches)
        self.task.report(Report(step, whole, epoch, values, self.clock.left(left, -(-left // batches))))

    # -- checkpoints ------------------------------------------------------------------------------

    def _save(self) -> None:
        self._check()
        content: dict[str, Any] = {
            **copies(self.lesson.tensors, "tensor:"),
            **{f"optimizer:{name}": value for name, value in self.optimizers.content().items()},
            **{f"best:{name}": value for name, value in self.best.items()},
            "progress": dict(vars(self.at)),
        }
        self.keeper.save(self.place.stage, content)

    def _load(self) -> None:
        content = self.keeper.now(self.place.stage)
        if content is None:
            return
        put(self.lesson.tensors, tensors_under(content, "tensor:"))
        self.optimizers.load(tensors_under(content, "optimizer:"))
        self.best = tensors_under(content, "best:")
        self.at = _Progress(**{**content["progress"], "curve": list(content["progress"]["curve"])})

    def _check(self) -> None:
        """Raise where a tensor is no number any more: such a checkpoint would be worth nothing."""
        if not all(bool(torch.isfinite(t).all()) for t in self.lesson.tensors.values() if t.is_floating_point()):
            raise self._diverged()

    def _diverged(self) -> StudioError:
        found = self.keeper.now(self.place.stage)
        good = "no checkpoint was due by then"
        if found is not None:
            good = f"the last good checkpoint is of step {found['progress']['step']:,}"
        step = min(self.at.step + 1, self.steps)
        what = f"the loss is no number any more at step {step:,} of {self.steps:,}; {good}."
        rate = self.settings.learning_rate
        remedy = f"Lower learning_rate (now {rate:g}), to {rate / 10:g} say."
        if not self.settings.clip:
            remedy += " A gradient limit (clip) of 1 helps too."
        return StudioError(what, where="learning_rate", remedy=remedy)


def train(
    task: Task, lesson: Lesson, samples: Samples, keeper: Keeper, place: Place = Place()
) -> list[dict[str, float]]:  # fmt: skip
    """Train a lesson from its last checkpoint to the end, in place; returns loss and validation by epoch.

    A lesson that begins has its validation before the first step too, without a loss.

    Raises Cancelled, and StudioError where the loss is no number any more.
    """
    return _Run(task, lesson, samples, keeper, place).run()
