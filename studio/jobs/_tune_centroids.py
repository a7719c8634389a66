"""The run of `tune_centroids`."""

from __future__ import annotations

import torch

from studio.core.state import State
from studio.jobs._base import Task
from studio.jobs._loop import Lesson, train
from studio.jobs._resume import Keeper
from studio.jobs._retrain import about, goal_of, loss_of, quantized, refuse
from studio.jobs._samples import split

EXACT = 0.8
"""Share of the training after which nothing is multiplied in 16 bits any more."""


def run(task: Task) -> State:
    """Train shared values; with `reassign` the weights behind them too. Raises StudioError or Cancelled."""
    refuse(task)
    settings = task.settings
    samples = split(task.engine, settings)
    student = quantized(task, activations=settings.activations, reassign=settings.reassign)
    student.begin(samples, restored=settings.restore)
    goal = goal_of(task.engine, samples)

    def before(step: int, steps: int) -> None:
        student.model.half = settings.bfloat16 and step < EXACT * steps
        if settings.reassign and step and step % samples.batches == 0:
            with torch.no_grad():
                student.assign()

    lesson = Lesson(
        student.tensors,
        student.groups(settings),
        loss_of(student, goal),
        lambda: student.measure(goal),
        before=before,
        after=student.limit,
    )
    curve = train(task, lesson, samples, Keeper(task))
    return student.state(about(task, goal, {"curve": curve}))
