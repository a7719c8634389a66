"""The process of a job: `python -m studio.jobs._worker FOLDER`. It knows its folder and nothing of the app."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.core import registry
from studio.core.errors import Cancelled, StudioError
from studio.core.state import State
from studio.jobs import _locks
from studio.jobs._base import Job, Task
from studio.jobs._folder import JobFolder, Outcome
from studio.jobs._recipe import Recipe, plan_of, versions

NICER = 10
"""Priority below that of the app."""
TOLD = ("metric", "validation", "ended", "verdict", "difference", "interval", "warning")
"""What a result tells of each of its jobs, beside their settings and time."""
LOOK_S = 0.1
"""A pause or an end is noticed this soon."""


class Suspended(Cancelled):
    """The job is put aside: its checkpoint is written, and it goes on another time."""


class Control:
    """What the user wants of a running job."""

    def __init__(self, folder: JobFolder, every: float) -> None:
        """`every`: seconds of work between two checkpoints."""
        self._folder = folder
        self._every = every
        self._looked = 0.0
        self._saves: int | None = None  # made when the wish to suspend was seen

    def begin(self, job: int) -> None:
        """Turn to job `job` of the recipe; ends here where the user wants it, as nothing can be lost."""
        from studio.jobs._checkpoints import FileCheckpoints

        path = self._folder.checkpoint(job)
        self.checkpoints = FileCheckpoints(path, every=self._every, hurry=lambda: self._saves is not None)
        self._looked = 0.0
        self.stop()
        if self._saves is not None:
            raise Suspended

    def stop(self) -> None:
        """Raise Cancelled where the user wants to end, wait while the job is paused."""
        now = time.monotonic()
        if now - self._looked < LOOK_S and self._saves is None:
            return
        self._looked = now
        wish = self._folder.wished()
        while wish == "pause":
            time.sleep(LOOK_S)
            wish = self._folder.wished()
        self.checkpoints.rest(time.monotonic() - now)
        if wish == "cancel":
            raise Cancelled
        if wish != "suspend":
            self._saves = None
        elif self._saves is None:
            self._saves = self.checkpoints.saves
        elif self.checkpoints.saves > self._saves:
            raise Suspended


def run(folder: JobFolder, recipe: Recipe) -> Outcome | None:
    """Run the jobs of a folder, or go on with them; returns how it ended, None where it was put aside.

    The outcome is written to the folder too, with the words of a StudioError. A fault of ours is raised
    after that.
    """
    try:
        state = _states(folder, recipe)
        outcome = Outcome("done", state.id, tuple(job["seconds"] for job in state.about["jobs"][-len(recipe.jobs) :]))
    except Suspended:
        return None
    except Cancelled:
        outcome = Outcome("cancelled")
    except StudioError as error:
        outcome = Outcome("failed", error=_words(error))
    except Exception as error:
        remedy = f"The whole message is in {folder.path / 'log'}; please report it."
        what = f"the job ended by a fault of the studio ({type(error).__name__}: {error})."
        folder.finish(Outcome("failed", error=_words(StudioError(what, where=recipe.title, remedy=remedy))))
        raise
    folder.finish(outcome)
    return outcome


def _states(folder: JobFolder, recipe: Recipe) -> State:
    """Run every job that has not yet made its state; returns the last state."""
    import torch

    from studio.engine.opening import engine_again
    from studio.jobs import _refusals

    torch.set_num_threads(recipe.threads)
    control = Control(folder, recipe.checkpoint_s)
    engine = engine_again(recipe.opened)
    start = folder.finished()
    state = folder.before(start)
    for number, spec in enumerate(recipe.jobs[start:], start):
        control.begin(number)
        plan = plan_of(recipe.plan, spec, engine.graph, None if state is None else engine.add_state(state))
        job: Job = registry.find("jobs", spec.job)
        _refusals.check(spec.job, engine, plan, spec.values)
        torch.manual_seed(int(getattr(spec.values, "seed", 0)))

        def report(told: Any, number: int = number) -> None:
            folder.tell(number, told)

        checkpoints = control.checkpoints
        made = job.run(Task(engine, plan, spec.values, report, checkpoints, control.stop))
        done = {"job": spec.job, "settings": spec.values.model_dump(mode="json"), "seconds": checkpoints.seconds}
        state = replace(made, about=_about(made, state, recipe, done))
        state.save(folder.state(number))
        folder.checkpoint(number).unlink(missing_ok=True)
    assert state is not None
    return state


def _about(made: State, before: State | None, recipe: Recipe, done: Mapping[str, Any]) -> dict[str, Any]:
    """What a state tells: its job's own figures, all jobs that led to it, and the code that they ran under."""
    done = {**done, **{name: made.about[name] for name in TOLD if name in made.about}}
    earlier = [] if before is None else before.about.get("jobs", [])
    code = [dict(recipe.versions)] + [versions()] * (versions() != dict(recipe.versions))
    return {**made.about, "jobs": [*earlier, dict(done)], "threads": recipe.threads, "versions": code}


def _words(error: StudioError) -> dict[str, str]:
    return {"kind": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}


def main(arguments: list[str]) -> int:
    """Run the job of a folder at low priority; 0 done, 2 a user's mistake, 130 ended or put aside."""
    folder = JobFolder(Path(arguments[0]))
    if not folder.alive:  # started by hand: nobody has handed a lock on
        _locks.hold(folder.lock)
        folder.lock.write_text(str(os.getpid()))
    with suppress(OSError):
        os.nice(NICER)
    try:
        outcome = run(folder, folder.recipe())
    except Exception:
        traceback.print_exc()
        return 1
    if outcome is None or outcome.status == "cancelled":
        return 130
    return 0 if outcome.status == "done" else 2


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the interpreter takes seconds to its own end, and would hold the locks meanwhile
