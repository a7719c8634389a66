"""Training jobs of a session: started on its plan, followed, and their results taken over when the user wants it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from studio.core import states
from studio.core.errors import FileError, StudioError
from studio.core.jobspec import JobSpec
from studio.core.plan import Plan
from studio.core.state import State
from studio.jobs import _process
from studio.jobs._process import JobProcess
from studio.jobs._recipe import Recipe, plan_of, trained
from studio.jobs._refusals import check
from studio.session import autosave
from studio.session.events import Notice

if TYPE_CHECKING:
    from studio.session.session import Session

LOOK_S = 0.2
KEPT_S = 7 * 86400.0
"""Folders of jobs that ended without being taken are kept this long."""


class Jobs:
    """Jobs that a session has started or found again.

    They run in processes of their own and go on when the session closes. `session.job_progressed(job,
    reports)` and `session.job_finished(job)` come from a thread of this object.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._followed: list[JobProcess] = []
        self._lock = Lock()
        self._closed = Event()
        self._thread: Thread | None = None
        self._unused: tuple[str, ...] = ()
        self.taken: dict[str, str] = {}  # by key of a plan with a result: key of the plan that was trained

    @property
    def followed(self) -> tuple[JobProcess, ...]:
        """Jobs that run or are paused, as far as this session follows them."""
        with self._lock:
            return tuple(self._followed)

    def recipe(self, specs: Sequence[JobSpec] = (), threads: int = 1) -> Recipe:
        """Return the recipe of some jobs on the current plan; without any, of the plan's own from their begin.

        Raises Refused where a job cannot run on this plan and data, PlanError where two do not go together.
        """
        session = self._session
        plan = session.plan if specs else replace(session.plan, state=None)
        recipe = Recipe(session.opened, plan, tuple(specs) or plan.jobs, threads)
        for spec in recipe.jobs:
            own = plan_of(recipe.plan, spec, session.graph, recipe.plan.state)
            check(spec.job, session.engine, own, spec.values)
        return recipe

    def start(self, specs: Sequence[JobSpec] = (), threads: int = 1) -> JobProcess:
        """Start jobs on the current plan, or go on with the same ones where they were stopped.

        Raises Refused with the reason, StudioError where another job runs.
        """
        recipe = self.recipe(specs, threads)
        job = _process.start(recipe, self._session.engine.state(recipe.plan))
        self.follow(job)
        return job

    def unfinished(self) -> list[JobProcess]:
        """Jobs on this model and data that an earlier session has left: running, stopped, or ended unseen."""
        opened, mine = self._session.opened, {job.folder.path for job in self.followed}
        return [
            job for job in _process.find_unfinished()
            if (job.recipe.opened.model, job.recipe.opened.data) == (opened.model, opened.data)
            and job.folder.path not in mine and job.status != "cancelled"
        ]  # fmt: skip

    def follow(self, job: JobProcess) -> None:
        """Tell of a job from now on, until it ends."""
        with self._lock:
            self._followed.append(job)
            if self._thread is None:
                self._thread = Thread(target=self._look, name="jobs", daemon=True)
                self._thread.start()

    def apply(self, job: JobProcess) -> None:
        """Make the result of a job the current plan; its folder is then removed. Raises what the job ended with."""
        self.take(job.recipe, job.state())
        job.discard()

    def take(self, recipe: Recipe, state: State) -> None:
        """Make the result of a recipe the current plan, as one entry of the history.

        The plan is the one that was trained: undo brings back what was edited meanwhile.
        """
        self._session.engine.add_state(state)
        with suppress(FileError):  # said by the autosave
            states.keep(state)
        self._session.set_plan(trained(recipe, state), f"trained: {recipe.title}")
        self.taken[self._session.plan.key] = recipe.plan.key

    def say_unused(self, plan: Plan) -> None:
        """Tell once where edits have made decisions of the training void."""
        unused = self._session.engine.unused(plan)
        if unused and unused != self._unused:
            names = ", ".join(unused[:3]) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
            self._session.notice.emit(Notice("info", f"The training result is no longer used for {names}."))
        self._unused = unused

    def close(self) -> None:
        """Follow no longer; the jobs go on. Old results that nothing needs are removed."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(StudioError):
            collect(autosave.named_states())

    def _look(self) -> None:
        while not self._closed.wait(LOOK_S):
            for job in self.followed:
                status = job.status  # before the reports: none is missed
                reports = job.reports()
                if reports:
                    self._session.job_progressed.emit(job, reports)
                if status not in ("running", "paused"):
                    with self._lock:
                        self._followed.remove(job)
                    self._session.job_finished.emit(job)


def collect(named: Sequence[str]) -> None:
    """Remove old states that neither an autosave (`named`) nor a job needs, and folders of jobs that ended long ago."""
    wanted, now = list(named), time.time()
    for job in _process.find_unfinished():
        with suppress(OSError, StudioError):
            old = now - (job.folder.path / "job.json").stat().st_mtime > KEPT_S
            if old and job.folder.outcome() is not None:
                job.discard()
            elif job.recipe.plan.state is not None:
                wanted.append(job.recipe.plan.state)
    states.collect(wanted)
