"""How long a job will take here: its own worker with its own settings, which ends once three batches were timed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import Cancelled, StudioError
from studio.core.state import State
from studio.jobs import _worker
from studio.jobs._base import Report
from studio.jobs._folder import JobFolder
from studio.jobs._process import LOOK_S, spawn
from studio.jobs._recipe import Recipe

WORKER = ("-m", "studio.jobs._estimate")
BATCHES = 3
"""Batches that are timed."""


@dataclass(frozen=True)
class Estimate:
    """Time of a job in seconds: `begin` until its first batches were timed, `rest` from there on.

    `batches` were timed; the job has `steps` of them, all taken to be as long, and validations as their samples
    would take forwards: the freezing of scales and the writing of the result come on top, early stopping and a
    run without teacher take less. With `whole` the job was so short that it ran to its end.
    """

    begin: float
    rest: float
    batches: int
    steps: int
    whole: bool = False

    @property
    def seconds(self) -> float:
        """Time from the click to the end."""
        return self.begin + self.rest


class _Trial(JobFolder):
    """Folder of a job that is wanted only until it knows how long it takes.

    The worker ends itself then, so that nothing goes on if the process that asked is killed.
    """

    def tell(self, job: int, report: Report) -> None:
        super().tell(job, report)
        if report.seconds_left is not None and report.step >= min(BATCHES, report.steps):
            raise Cancelled


def measure(recipe: Recipe, state: State | None = None, stop: Callable[[], bool] = lambda: False) -> Estimate:
    """Measure the time of a recipe's first job in a process like the job's own: same code, threads and priority.

    `state`: the one that the plan names. Nothing that it makes is kept. Raises Cancelled where `stop()` says so,
    ModelError for a model that is no file, and what the job ends with where it fails that early.
    """
    recipe.check()
    with tempfile.TemporaryDirectory(prefix="studio-estimate-", ignore_cleanup_errors=True) as place:
        folder = JobFolder(Path(place))
        folder.prepare(recipe, state)
        began = time.time()
        child = spawn(folder, recipe, [], WORKER)
        try:
            while child.poll() is None:
                if stop():
                    raise Cancelled
                time.sleep(LOOK_S)
        finally:
            child.kill()
            child.wait()
        return _read(folder, recipe, time.time() - began, began)


def _read(folder: JobFolder, recipe: Recipe, seconds: float, began: float) -> Estimate:
    """Estimate from what the worker has told; raises what it ended with."""
    outcome, told = folder.outcome(), folder.told()[0]
    if outcome is not None and outcome.status == "failed":
        outcome.check()
    if outcome is None or not told:
        remedy = "Start the job: its own message says more."
        raise StudioError("the measurement ended before a batch was timed.", where=recipe.title, remedy=remedy)
    last = told[-1].report
    if last.seconds_left is None:
        return Estimate(seconds, 0.0, last.step, last.steps, whole=True)
    return Estimate(told[-1].at - began, last.seconds_left, last.step, last.steps)


def main(arguments: list[str]) -> int:
    """Run the job of a folder at a job's priority until it was timed; how it ended stands in the folder."""
    folder = _Trial(Path(arguments[0]))
    with suppress(OSError):
        os.nice(_worker.NICER)
    _worker.run(folder, folder.recipe())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
