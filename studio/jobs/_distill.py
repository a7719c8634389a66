"""The run of `distill`: with the teacher, then the same without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.core.metrics import paired_interval
from studio.core.state import State
from studio.jobs._base import Task
from studio.jobs._fresh import draw
from studio.jobs._goal import Goal
from studio.jobs._loop import Lesson, Place, train
from studio.jobs._narrower import narrowed
from studio.jobs._optimizers import Group
from studio.jobs._quantization_aware import Settling
from studio.jobs._resume import Content, Keeper, copies, put, tensors_under
from studio.jobs._retrain import about, goal_of, loss_of, quantized, refuse
from studio.jobs._samples import Samples, split
from studio.jobs._student import Student
from studio.jobs._teacher import Guide, load
from studio.jobs._teacher_input import inputs_for

WITH, WITHOUT = ("loss", "validation"), ("loss without teacher", "without teacher")


def run(task: Task) -> State:
    """Train towards the teacher, and without; raises StudioError or Cancelled."""
    task = replace(task, plan=narrowed(task.plan, [task.settings]))
    refuse(task)
    samples = split(task.engine, task.settings)
    goal = goal_of(task.engine, samples)
    keeper = Keeper(task)
    compare = task.settings.compare and goal.labelled
    whole = task.settings.epochs * samples.batches
    taught = _stage(task, samples, goal, keeper, Place(0, 0, whole * (1 + compare), WITH))
    figures: dict[str, Any] = {"curve": taught["curve"], "verdict": _NOT_COMPARED[goal.labelled]}
    if compare:
        alone = _stage(task, samples, goal, keeper, Place(1, whole, 2 * whole, WITHOUT))
        figures |= {"without": alone["curve"], **verdict(alone["scores"], taught["scores"])}
    student = _student(task)
    put(student.tensors, tensors_under(taught, "tensor:"))
    return student.state(about(task, goal, figures))


_NOT_COMPARED = {
    False: "Without labels there is nothing to train towards but the teacher, so it was not compared.",
    True: "Whether the teacher helps was not measured: 'compare' is off.",
}


def _student(task: Task) -> Student:
    if task.engine.needs_ranges(task.plan):
        return quantized(task)
    return Student(task.engine, task.plan, quantized=False, half=task.settings.bfloat16)


def _stage(task: Task, samples: Samples, goal: Goal, keeper: Keeper, place: Place) -> Content:
    """Train one student from the start; what it leaves: its tensors, curve and scores."""
    done = keeper.done(place.stage)
    if done is not None:
        return done
    student = _student(task)
    lesson = _lesson(task, student, goal, samples, taught=place.stage == 0)
    curve = train(task, lesson, samples, keeper, place)
    scores = torch.from_numpy(goal.scores(student.model))
    return keeper.finish(place.stage, {**copies(student.tensors, "tensor:"), "curve": curve, "scores": scores})


def _lesson(task: Task, student: Student, goal: Goal, samples: Samples, *, taught: bool) -> Lesson:
    settings = task.settings
    fresh = settings.start == "fresh"
    if fresh:
        draw(student.model, samples.some, settings.seed)
    student.begin(samples, restored=settings.restore and not fresh, batch_norm=settings.batch_norm)
    groups = student.groups(settings, settings.scale_rate)
    tensors = student.tensors
    loss = loss_of(student, goal)
    if taught:
        guide = _guide(task, student, goal, samples)
        groups.append(Group(guide.adapters, [a.detach().square().mean().sqrt() for a in guide.adapters],
                            settings.learning_rate))  # fmt: skip
        tensors = tensors | {f"adapter:{i}": adapter for i, adapter in enumerate(guide.adapters)}
        loss = _taught_loss(task, student, goal, guide)
    settling = Settling(student, settings)
    return Lesson(
        tensors, groups, loss, lambda: student.measure(goal),
        before=settling.before, after=settling.after, settled=settling.settled if student.scales else _always,
        end=student.fold,
    )  # fmt: skip


def _always(step: int, steps: int) -> bool:
    return True


def _guide(task: Task, student: Student, goal: Goal, samples: Samples) -> Guide:
    settings = task.settings
    weights = {name: getattr(settings, name) for name in ("hints", "attention", "relations")}
    network = load(task.engine, settings.teacher)
    inputs = inputs_for(task.engine, settings.teacher_preprocess)
    guide = Guide(network, student.variant.network, goal.classifier, weights, settings.bfloat16, inputs)
    with torch.no_grad():
        guide.fit_adapters(student.model(samples.some, guide.keep), guide.ask(samples.some))
    return guide


def _taught_loss(task: Task, student: Student, goal: Goal, guide: Guide) -> Any:
    """`alpha T^2 KL + (1 - alpha) CE`, and what inner tensors add; without labels the teacher alone."""
    settings, ends = task.settings, goal.ends(student.model.network)
    keep = (*ends.keep, *guide.keep)

    def loss(x: Tensor, labels: Tensor | None) -> Tensor:
        values, theirs = student.model(x, keep), guide.ask(x)
        mine = ends.of(values)
        response = goal.response(mine, guide.ends.of(theirs), settings.temperature)
        if labels is not None:
            response = settings.alpha * response + (1 - settings.alpha) * goal.loss(mine, x, labels)
        return response + guide.inner_loss(values, theirs)

    return loss


def verdict(without: Tensor, taught: Tensor) -> dict[str, Any]:
    """Difference on the validation samples with its 95 % interval, and what it says in words; scores (samples,)."""
    before, after = (np.asarray(scores.numpy(), np.float64) for scores in (without, taught))
    low, high = paired_interval(before, after)
    if low == high:  # nothing differs: what three differing samples in many would be (rule of three)
        low, high = low - 3 / len(after), high + 3 / len(after)
    difference = float(after.mean() - before.mean())
    with_it, without_it = 100 * after.mean(), 100 * before.mean()
    text = (
        f"With the teacher {with_it:.2f} %, without {without_it:.2f} % on {len(after):,} validation samples: "
        f"{100 * difference:+.2f} points (95 %: {100 * low:+.2f} to {100 * high:+.2f})."
    )
    return {"verdict": f"{text} {_words(low, high)}", "difference": difference, "interval": [low, high]}


def _words(low: float, high: float) -> str:
    if low > 0:
        return "The teacher helps."
    return "The teacher harms." if high < 0 else "That the teacher helps is not shown."
