"""The run of `quantization_aware`, and of any job whose student computes as the integer program does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from studio.core.state import State
from studio.jobs._base import Task
from studio.jobs._goal import Goal
from studio.jobs._loop import Lesson, train
from studio.jobs._optimizers import factor
from studio.jobs._resume import Keeper
from studio.jobs._retrain import about, goal_of, loss_of, quantized, refuse
from studio.jobs._samples import Samples, split
from studio.jobs._student import Student


def run(task: Task) -> State:
    """Train with the plan's grids and formats in place; raises StudioError or Cancelled."""
    refuse(task)
    samples = split(task.engine, task.settings)
    student = quantized(task)
    goal = goal_of(task.engine, samples)
    curve = train(task, quantized_lesson(task, student, goal, samples), samples, Keeper(task))
    return student.state(about(task, goal, {"curve": curve}))


def quantized_lesson(task: Task, student: Student, goal: Goal, samples: Samples) -> Lesson:
    """Lesson of a student with grids: its scales are learned until they freeze."""
    settings = task.settings
    student.begin(samples, restored=settings.restore, batch_norm=settings.batch_norm)
    settling = Settling(student, settings)
    return Lesson(
        student.tensors,
        student.groups(settings, settings.scale_rate),
        loss_of(student, goal),
        lambda: student.measure(goal),
        before=settling.before,
        after=settling.after,
        settled=settling.settled,
        end=student.fold,
    )


class Settling:
    """What comes to rest in the course of a run: weights at their levels, then scales.

    Weights that want to lie between two levels jump from one to the other at every step. They are drawn to the
    level that they have, the more the later it is (oscillation dampening, Nagel et al. 2022, equation 5, as a step
    of its own). Late scales stop: those of tensors as lowering chooses them from what was learned. Lowering widens
    some scales by a hair, so that all runtimes add alike (`studio.lowering.reconcile`); from here on weights and
    biases see the arithmetic of the export, without batch norm and 16-bit products.
    """

    def __init__(self, student: Student, settings: Any) -> None:
        """`settings`: of `quantization_aware` or `distill`."""
        self._student, self._settings, self._half = student, settings, student.model.half
        self._pull = 0.0

    def before(self, step: int, steps: int) -> None:
        """Freeze at the step at which it is time; later steps leave the scales alone."""
        at, settings = self._at(steps), self._settings
        if step == at:
            freeze(self._student)
        if self._student.formats is not None:
            self._student.model.half = self._half and step < at
        for scale in self._student.scales:
            scale.requires_grad_(step < at)
            if step >= at:
                scale.grad = None
        share = step / steps
        self._pull = settings.dampening * share * settings.learning_rate * factor(settings.rate_schedule, share)

    def after(self) -> None:
        """Behind a step: what can be stored, and weights nearer to their levels."""
        self._student.limit()
        if self._pull:
            self._student.settle(self._pull)

    def settled(self, step: int, steps: int) -> bool:
        """True once scales are frozen."""
        return step > self._at(steps)

    def _at(self, steps: int) -> int:
        return min(int(self._settings.freeze * steps), steps - 1)


def freeze(student: Student) -> None:
    """Take the formats of tensors that the export of the student as it is now would have; batch norm ends before."""
    if student.formats is None:
        return
    student.fold()
    engine = student.engine
    now: Any = replace(student.plan, state=engine.add_state(student.state({})))
    student.formats.freeze(engine.program(now))
