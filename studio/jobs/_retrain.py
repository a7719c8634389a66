"""The run of `retrain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from studio.core.state import State
from studio.engine.engine import Engine
from studio.engine.variant import fits
from studio.jobs._base import Task
from studio.jobs._goal import Goal
from studio.jobs._loop import Lesson, Place, train
from studio.jobs._masks import Tightening
from studio.jobs._refusals import check
from studio.jobs._resume import Keeper, copies, put, tensors_under
from studio.jobs._rounds import Rounds
from studio.jobs._samples import Samples, split
from studio.jobs._student import Student

HARM = 0.02
"""Loss of the validation's metric that is worth a warning."""


def run(task: Task) -> State:
    """Train the plan's float network with its masks held or tightening; raises StudioError or Cancelled.

    Where channels leave in rounds, all rounds but the last train without masks and grids.
    """
    refuse(task)
    samples = split(task.engine, task.settings)
    goal, keeper = goal_of(task.engine, samples), Keeper(task)
    if task.settings.rounds > 1 and not _decided(task):
        return _in_rounds(task, goal, samples, keeper)
    student = Student(task.engine, task.plan, quantized=False, half=task.settings.bfloat16)
    curve = train(task, _lesson(task, student, goal, samples), samples, keeper)
    return student.state(about(task, goal, {"curve": curve}))


def _decided(task: Task) -> bool:
    """True where an earlier job has decided which channels stay."""
    state = task.engine.state(task.plan)
    return state is not None and fits(state, task.engine.resolve(task.plan))


def _in_rounds(task: Task, goal: Goal, samples: Samples, keeper: Keeper) -> State:
    rounds, curve, first = Rounds(task), [], 0
    whole = task.settings.epochs * samples.batches
    for i in range(task.settings.rounds):
        plan = rounds.cut(i)
        student = Student(task.engine, plan, quantized=False, half=task.settings.bfloat16)
        lesson = _lesson(task, student, goal, samples)
        place = Place(i, first, whole, epochs=rounds.epochs(i), begins=i == 0)
        done = keeper.done(i)
        if done is None:
            own = train(task, lesson, samples, keeper, place)
            done = keeper.finish(i, {**copies(student.tensors, "tensor:"), "curve": own})
        put(student.tensors, tensors_under(done, "tensor:"))
        curve += [{**entry, "step": entry["step"] + first} for entry in done["curve"]]
        first += rounds.epochs(i) * samples.batches
        rounds.trained(student.state({}))
    return student.state(about(task, goal, {"curve": curve}))


def refuse(task: Task) -> None:
    """Raise Refused where the job says that it cannot run."""
    check(job_name(task), task.engine, task.plan, task.settings)


def quantized(task: Task, **more: bool) -> Student:
    """Student with the plan's grids and shared values; what the plan says is learned is learned first."""

    def stop() -> bool:
        task.stop()
        return False

    task.engine.prepare(task.plan, stop=stop)
    return Student(task.engine, task.plan, quantized=True, half=task.settings.bfloat16, **more)


def job_name(task: Task) -> str:
    """Name of the job whose settings a task has."""
    return type(task.settings).__module__.rpartition(".")[2]


def goal_of(engine: Engine, samples: Samples) -> Goal:
    """Goal of training on these samples: their labels, else the original network's outputs."""
    shapes = [engine.graph.layer(name).output_shape for name in engine.graph.outputs]
    return Goal(engine.network, shapes, samples, samples.settings.label_smoothing)


def about(task: Task, goal: Goal, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a state says of its making."""
    settings = task.settings.model_dump()
    return {"job": job_name(task), "settings": settings, "metric": goal.metric, "threads": torch.get_num_threads(),
            **warning(figures["curve"]), **figures}  # fmt: skip


def warning(curve: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Sentence where training has done harm, as "warning": validation far below what it was before."""
    before, after = curve[0]["validation"], curve[-1]["validation"]
    if before - after <= HARM:
        return {}
    text = f"Training did harm: validation {100 * after:.2f} %, {100 * before:.2f} % before. Lower the learning rate."
    return {"warning": text}


def loss_of(student: Student, goal: Goal) -> Any:
    """`loss(x, labels)` of a student by its goal alone."""
    ends = goal.ends(student.model.network)

    def loss(x: Tensor, labels: Tensor | None) -> Tensor:
        return goal.loss(ends.of(student.model(x, ends.keep)), x, labels)

    return loss


def last(curve: Sequence[Mapping[str, float]]) -> float:
    """Validation of the last epoch."""
    return curve[-1]["validation"]


def _lesson(task: Task, student: Student, goal: Goal, samples: Samples) -> Lesson:
    settings = task.settings
    tightening = None
    if settings.schedule == "cubic" and student.masks.tensors:
        tightening = Tightening(student.masks, student.model, settings.start, settings.ramp)
        tightening.before(0, 1)
    student.begin(samples, restored=settings.restore, batch_norm=settings.batch_norm)
    common: dict[str, Any] = {
        "tensors": student.tensors,
        "groups": student.groups(settings),
        "loss": loss_of(student, goal),
        "measure": lambda: student.measure(goal),
        "after": student.limit,
        "end": student.fold,
    }
    if tightening is None:
        return Lesson(**common)
    return Lesson(**common, before=tightening.before, settled=tightening.settled)
