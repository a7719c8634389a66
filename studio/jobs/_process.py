"""Jobs as a face sees them: start, follow, pause, put aside, end, go on after a crash. No screen, no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from studio.core.errors import FileError, PlanError, StudioError
from studio.core.state import State
from studio.jobs import _locks
from studio.jobs._folder import JobFolder, Outcome, Told, jobs_folder
from studio.jobs._recipe import Recipe

Status = Literal["running", "paused", "stopped", "done", "cancelled", "failed"]
"""`stopped`: put aside, or its process was killed; `resume` goes on from the checkpoint."""
LOOK_S = 0.05
AT_ONCE = "STUDIO_JOBS"
"""Environment variable: how many jobs may run at once on this machine (1)."""
ENDING_S = 10.0
"""A worker that has told how it ended is waited for so long."""
WORKER = ("-m", "studio.jobs._worker")
_children: dict[int, subprocess.Popen[bytes]] = {}
_PACKAGE = str(Path(__file__).resolve().parents[2])


class JobProcess:
    """One job (a recipe of one or more) in a process of its own; any number of handles may follow it."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.recipe = folder.recipe()
        self._offset = 0

    @property
    def status(self) -> Status:
        """How it stands now."""
        self._reap()
        alive = self.folder.alive  # before the outcome: a worker writes that while it lives
        outcome = self.folder.outcome()
        if outcome is not None:
            return outcome.status
        if not alive:
            return "stopped"
        return "paused" if self.folder.wished() == "pause" else "running"

    def reports(self) -> list[Told]:
        """Return reports since the last call; the first call gives all, those of earlier starts too."""
        found, self._offset = self.folder.told(self._offset)
        return found

    def curves(self) -> dict[tuple[int, str], dict[int, float]]:
        """Return the values of every curve by step, by the number of the job and the curve's name."""
        found: dict[tuple[int, str], dict[int, float]] = {}
        for told in self.folder.told()[0]:
            for name, value in told.report.values.items():
                found.setdefault((told.job, name), {})[told.report.step] = value
        return found

    def pause(self) -> None:
        """Hold the job; its process stays, without working."""
        self.folder.wish("pause")

    def resume(self) -> None:
        """Go on: with a paused job at once, with a stopped or failed one from its checkpoint.

        Raises StudioError where another job runs on this machine or on this plan.
        """
        if self.folder.alive:
            self.folder.wish("go")
        else:
            _begin(self.folder, self.recipe, None)

    def cancel(self) -> None:
        """End the job for good."""
        if self.folder.alive:
            self.folder.wish("cancel")
        else:
            self.folder.finish(Outcome("cancelled"))

    def suspend(self, patience: float = 10.0) -> None:
        """Put the job aside after its next checkpoint; without one within `patience` seconds its process is ended."""
        if not self.folder.alive:
            return
        self.folder.wish("suspend")
        if self.wait(patience) is None and self.folder.alive:
            self.kill()

    def kill(self) -> None:
        """End the process at once; the last checkpoint stays."""
        with suppress(OSError, ValueError):
            os.kill(int(self.folder.lock.read_text()), 9)
        self.wait(10.0)

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Block until its process has ended; None where there is no outcome (yet): put aside, or killed."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.folder.alive and (until is None or time.monotonic() < until):
            time.sleep(LOOK_S)
        self._reap()
        return self.folder.outcome()

    def state(self) -> State:
        """Return the result; raises what the job ended with, StudioError where it has not ended."""
        outcome = self.folder.outcome()
        if outcome is None:
            raise StudioError("the job has no result yet.", where=self.recipe.title, remedy="Let it go on to its end.")
        outcome.check()
        return State.load(self.folder.state(len(self.recipe.jobs) - 1))

    def discard(self) -> None:
        """Forget an ended job: remove its folder. One that runs is ended first."""
        if self.folder.alive:
            self.kill()
        self.folder.remove()

    def _reap(self) -> None:
        """Take note of the end of own children, so that none stays as a zombie."""
        for pid, child in list(_children.items()):
            if child.poll() is not None:
                _children.pop(pid, None)


def start(recipe: Recipe, state: State | None = None, folder: Path | None = None) -> JobProcess:
    """Start a recipe in a process of its own, or go on with the same one that was stopped or failed.

    One that has ended well, and was not taken yet, is handed back as it is. `state`: the one that the plan
    names. `folder`: where the job keeps its files, by default one below the user's folder. Raises
    StudioError where another job runs on this machine or on this plan, ModelError for a model that is
    no file, FileError for a folder that cannot be written.
    """
    recipe.check()
    if not recipe.jobs:
        raise PlanError("there is no job to run.", where="plan: jobs", remedy="Name one, as in retrain(epochs=5).")
    own = JobFolder(folder or jobs_folder() / recipe.id)
    outcome = own.outcome() if own.begun == recipe.id else None
    if outcome is None or outcome.status != "done":
        _begin(own, recipe, state)
    return JobProcess(own)


def find(recipe: Recipe) -> JobProcess | None:
    """Return the same job where it was begun already, whatever came of it; None where it was not."""
    folder = JobFolder(jobs_folder() / recipe.id)
    return JobProcess(folder) if folder.begun == recipe.id else None


def find_unfinished() -> list[JobProcess]:
    """Jobs in the user's folder that nobody has taken or discarded, the newest first.

    Those that still run, those that were stopped by a kill, and those that ended while no app was there.
    """
    found = []
    for path in jobs_folder().iterdir():
        with suppress(StudioError, OSError):  # another process may remove a folder just now
            if path.is_dir():
                found.append((path.stat().st_mtime, JobProcess(JobFolder(path))))
    return [job for _, job in sorted(found, key=lambda entry: -entry[0])]


def _begin(folder: JobFolder, recipe: Recipe, state: State | None) -> None:
    """Take the locks, write the folder, start the worker; the locks are its own from then on."""
    jobs = find_unfinished()
    for job in jobs:
        if job.folder.outcome() is not None:
            job.wait(ENDING_S)
    other = next((job for job in jobs if job.folder.alive and job.recipe.target == recipe.target), None)
    if other is not None or folder.alive:
        what = f"a job on this plan runs already ({(other.recipe if other else recipe).title})."
        raise StudioError(what, where="jobs", remedy="Let it end or cancel it, or change the plan first.")
    locks = [_machine(recipe)]
    try:
        own = _locks.hold(folder.lock)
        if own is None:
            raise StudioError("the job runs already.", where="jobs", remedy="Let it end or cancel it.")
        locks.append(own)
        folder.prepare(recipe, state)
        child = spawn(folder, recipe, locks)
        _children[child.pid] = child
        try:
            _write(own, str(child.pid), folder.lock)
        except FileError:  # a worker whose number nobody knows could not be ended
            child.kill()
            child.wait()
            raise
    finally:
        for file in locks:
            os.close(file)


def _write(file: int, text: str, path: Path) -> None:
    """Make `text` the content of an open lock; raises FileError on a full disk."""
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)
    except OSError as error:
        what = f"cannot be written ({error.strerror})."
        raise FileError(what, where=str(path), remedy="Make room on the disk.") from None


def _machine(recipe: Recipe) -> int:
    """Lock of one of the places for jobs on this machine."""
    text = os.environ.get(AT_ONCE, "1")
    places = int(text) if text.isdigit() and int(text) > 0 else 1
    for place in range(places):
        file = _locks.hold(jobs_folder() / f"place-{place}")
        if file is not None:
            try:
                _write(file, recipe.title, jobs_folder() / f"place-{place}")
            except FileError:
                os.close(file)
                raise
            return file
    running = " and ".join((jobs_folder() / f"place-{i}").read_text() or "a job" for i in range(places))
    remedy = f"Let it end, cancel it, or allow more at once with {AT_ONCE}={places + 1}."
    raise StudioError(f"this machine trains already: {running}.", where="jobs", remedy=remedy)


def spawn(
    folder: JobFolder, recipe: Recipe, locks: list[int], worker: Sequence[str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a worker that inherits the locks and outlives this process and its terminal; `worker`: another module."""
    threads = str(recipe.threads)
    path = os.pathsep.join(p for p in (_PACKAGE, os.environ.get("PYTHONPATH")) if p)
    own = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONHASHSEED": "0", "PYTHONPATH": path}
    safe = () if recipe.opened.code else ("-P",)  # only code of the user's own is looked for in the current folder
    with (folder.path / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *safe, *(worker or WORKER), str(folder.path)], env={**os.environ, **own}, pass_fds=locks,
            cwd=recipe.folder if Path(recipe.folder).is_dir() else None,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
