"""The run of `retrain`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
SOFT = ("label_smoothing", "mixup", "cutmix")
"""Settings that say less than the labels do; too much of them is another cause of harm."""
UNLABELLED = "Without labels it learned what the original network says; validation is how far they agree."


def run(task: Task) -> State:
    """Train the plan's float network with its masks held or tightening; raises StudioError or Cancelled.

    Where channels leave in rounds, all rounds but the last train without masks and grids.
    """
    refuse(task)
    samples = split(task.engine, task.settings)
    goal, keeper = goal_of(task.engine, samples), Keeper(task)
    gradual = task.settings.rounds > 1 and not _decided(task)
    student, curve = (_in_rounds if gradual else _at_once)(task, goal, samples, keeper)
    return student.state(about(task, goal, {"curve": curve}, lambda: _untrained(task, goal, samples)))


def _decided(task: Task) -> bool:
    """True where an earlier job has decided which channels stay."""
    state = task.engine.state(task.plan)
    return state is not None and fits(state, task.engine.resolve(task.plan))


Curve = list[dict[str, float]]


def _at_once(task: Task, goal: Goal, samples: Samples, keeper: Keeper) -> tuple[Student, Curve]:
    student = Student(task.engine, task.plan, quantized=False, half=task.settings.bfloat16)
    return student, train(task, _lesson(task, student, goal, samples), samples, keeper)


def _in_rounds(task: Task, goal: Goal, samples: Samples, keeper: Keeper) -> tuple[Student, Curve]:
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
    return student, curve


def _untrained(task: Task, goal: Goal, samples: Samples) -> float:
    """Validation of the plan before training, with all that it takes away gone at once."""
    student = Student(task.engine, task.plan, quantized=False)
    student.begin(samples, restored=task.settings.restore)
    return student.measure(goal)


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


def about(
    task: Task, goal: Goal, figures: Mapping[str, Any], untrained: Callable[[], float] | None = None
) -> dict[str, Any]:  # fmt: skip
    """What a state says of its making; `untrained()`: validation of the plan before training.

    A curve may begin with less taken away than the plan says.
    """
    settings, curve = task.settings.model_dump(), figures["curve"]
    validation = {"before": curve[0]["validation"], "after": _kept(curve)["validation"]}
    verdict = {} if goal.labelled else {"verdict": UNLABELLED}
    return {"job": job_name(task), "settings": settings, "metric": goal.metric, "threads": torch.get_num_threads(),
            "validation": validation, **_ended(task, curve), **verdict, **_warning(task, curve, untrained),
            **figures}  # fmt: skip


def _kept(curve: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Entry of the epoch whose weights stay."""
    return next((entry for entry in reversed(curve) if "kept" in entry), curve[-1])


def _ended(task: Task, curve: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Sentence on early stopping, as "ended"."""
    settings: Any = task.settings
    kept = _kept(curve)
    if not settings.patience or "kept" not in kept:
        return {}
    after, best = len(curve) - 1, curve.index(kept)
    stays = f"the best on validation stays, epoch {best} with {100 * kept['validation']:.2f} %"
    return {"ended": f"Ended after epoch {after} of {settings.epochs}; {stays}."}


def _warning(
    task: Task, curve: Sequence[Mapping[str, float]], untrained: Callable[[], float] | None
) -> dict[str, str]:  # fmt: skip
    """Sentence where training has done harm, as "warning": validation far below what it was before."""
    before, after = curve[0]["validation"], _kept(curve)["validation"]
    if before - after > HARM and untrained is not None:
        before = untrained()
    if before - after <= HARM:
        return {}
    settings: Any = task.settings
    gradual = getattr(settings, "schedule", "") == "cubic" or getattr(settings, "rounds", 1) > 1
    soft = [name for name in SOFT if getattr(settings, name)]
    remedy = f"Lower the learning rate{', or ' + ' and '.join(soft) if soft else ''}."
    if gradual:
        remedy = "Raise epochs: what is taken away bit by bit needs time."
    return {"warning": f"Training did harm: validation {100 * after:.2f} %, {100 * before:.2f} % before. {remedy}"}


def loss_of(student: Student, goal: Goal) -> Any:
    """`loss(x, labels)` of a student by its goal alone."""
    ends = goal.ends(student.model.network)

    def loss(x: Tensor, labels: Tensor | None) -> Tensor:
        return goal.loss(ends.of(student.model(x, ends.keep)), x, labels)

    return loss


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
