"""Training jobs of a command: which ones, run and followed on stderr; Ctrl-C puts them aside."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from studio.core.errors import Cancelled, PlanError, StudioError

if TYPE_CHECKING:
    from studio.cli._common import Progress
    from studio.core.plan import Plan
    from studio.jobs._folder import Told
    from studio.jobs._process import JobProcess
    from studio.jobs._recipe import Recipe
    from studio.session import Session

FORM = "Write name(key=value,..), as in 'retrain(epochs=5)'."
TERMINAL_S, LINES_S = 0.5, 5.0
"""How often progress is shown: in a terminal, and as lines in a file."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to train before the export, and where."""
    parser.add_argument(
        "--retrain", type=int, metavar="EPOCHS", help="retrain so long (epochs of the plan's own retraining, if any)"
    )
    parser.add_argument(
        "--job", action="append", default=[], metavar="SPEC",
        help="a training job: 'distill(epochs=5)'; in order. `edge-studio jobs` lists them with their settings",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the training (default: cores - 1)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="train on a Dask cluster: tcp://HOST:8786")


def with_jobs(plan: Plan, args: argparse.Namespace) -> Plan:
    """Return the plan with the jobs that flags name; raises PlanError."""
    from dataclasses import replace

    from studio.core.jobspec import JobSpec
    from studio.core.setspec import parse_call

    jobs = plan.jobs
    if args.retrain is not None:
        epochs = {"epochs": args.retrain}
        if not any(spec.job == "retrain" for spec in jobs):
            jobs = (JobSpec("retrain"), *jobs)
        jobs = tuple(replace(s, settings={**s.settings, **epochs}) if s.job == "retrain" else s for s in jobs)
    jobs = (*jobs, *(JobSpec(*parse_call(text, FORM)) for text in args.job))
    for flag, value in (("--threads", args.threads), ("--cluster", args.cluster)):
        if value is not None and not jobs:
            remedy = "Give --retrain EPOCHS or --job SPEC as well."
            raise PlanError(f"{flag} is for training jobs, and there are none.", remedy=remedy)
    if args.threads is not None:
        _check_threads(args.threads, here=args.cluster is None)
    return replace(plan, jobs=jobs)


def _check_threads(count: int, *, here: bool) -> None:
    """Raise PlanError for no threads, or more than cores where the training runs `here`."""
    cores = _cores()
    if count < 1 or (here and count > cores):
        remedy = f"Choose 1 to {cores}, the cores of this machine." if here else "Choose 1 or more."
        raise PlanError(f"--threads {count} is not possible.", remedy=remedy)


def train(session: Session, args: argparse.Namespace, progress: Progress) -> JobProcess | None:
    """Run the jobs of the session's plan, if any, and make their result its plan; goes on where they were stopped.

    Returns what holds the result, to be discarded once that is exported: the same command may have to try again,
    or another one may follow the job. Raises Refused, Cancelled after Ctrl-C, or what a job ended with.
    """
    if not session.plan.jobs:
        return None
    recipe = session.jobs.recipe(threads=args.threads or threads())
    _say_outlook(session, recipe)
    if args.cluster is not None:
        from studio.jobs._cluster import run_many

        try:
            (state,) = run_many([recipe], args.cluster, progress=progress, listener=_listener(recipe, progress))
        except KeyboardInterrupt:
            sys.stderr.write(f"{recipe.title}: ended on the cluster, where nothing is kept; it would begin anew.\n")
            raise
        session.jobs.take(recipe, state)
        return None
    job = _begin(recipe)
    _follow(job, progress)
    session.jobs.take(job.recipe, job.state())
    return job


def _say_outlook(session: Session, recipe: Recipe) -> None:
    """Say on stderr what each job will train, and on what."""
    from studio.jobs._settings import TrainingSettings
    from studio.session.training import outlook_of

    for i, spec in enumerate(recipe.jobs):
        if isinstance(spec.values, TrainingSettings):
            sys.stderr.write(f"{spec.job}: {outlook_of(session, recipe, i).words()}\n")


def threads() -> int:
    """Threads of a training with nothing beside it: as OMP_NUM_THREADS says, else all cores but one."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else max(1, _cores() - 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _begin(recipe: Recipe) -> JobProcess:
    """Start the jobs, go on with them, or follow them where they still run; what has ended well is taken as it is."""
    from studio.jobs import _process

    known = _process.find(recipe)
    if known is not None and known.status in ("running", "paused"):
        known.resume()
        return known
    return _process.start(recipe)


def _follow(job: JobProcess, progress: Progress) -> None:
    every = _every()
    try:
        while job.status == "running":
            job.wait(every)
            told = job.reports()
            if told:
                _show(job.recipe, told[-1], progress)
    except KeyboardInterrupt:
        job.suspend()
        sys.stderr.write(
            f"{job.recipe.title}: put aside at its last checkpoint; the same command goes on from there.\n"
        )
        raise Cancelled from None
    if job.status == "stopped" and job.folder.wished() == "suspend":
        sys.stderr.write(f"{job.recipe.title}: put aside by another command; the same command goes on from there.\n")
        raise Cancelled
    if job.folder.begun is None:
        remedy = "Run the same command again: it begins anew."
        raise StudioError("another command has taken its result.", where=job.recipe.title, remedy=remedy)
    if job.status == "stopped":
        remedy = f"Run the same command again: it goes on from the last checkpoint. Messages: {job.folder.path / 'log'}"
        raise StudioError("the process of the job was ended from outside.", where=job.recipe.title, remedy=remedy)


def _listener(recipe: Recipe, progress: Progress) -> Callable[[int, Told], None]:
    """What shows the reports of one recipe on a cluster, no more often than those of a job here."""
    shown = 0.0

    def listener(_: int, told: Told) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _every():
            shown = time.monotonic()
            _show(recipe, told, progress)

    return listener


def _every() -> float:
    return TERMINAL_S if sys.stderr.isatty() else LINES_S


def _show(recipe: Recipe, told: Told, progress: Progress) -> None:
    progress(_title(recipe, told), told.report.step, told.report.steps)


def _title(recipe: Recipe, told: Told) -> str:
    count = f" ({told.job + 1} of {len(recipe.jobs)})" if len(recipe.jobs) > 1 else ""
    curves = ", ".join(_value(name, value) for name, value in told.report.values.items())
    left = told.report.seconds_left
    time = "" if left is None else f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"
    return f"{recipe.jobs[told.job].job}{count}: {curves}{time}"


def _value(curve: str, value: float) -> str:
    name = f"validation {curve}" if curve == "without teacher" else curve
    return f"{name} {value:.4g}" if "loss" in curve else f"{name} {100 * value:.2f} %"
