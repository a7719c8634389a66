"""How the jobs on a network stand: those that were left, and what the one that is shown says of its making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core import registry
from studio.core.errors import StudioError

if TYPE_CHECKING:
    from studio.jobs._process import JobProcess
    from studio.jobs._recipe import Recipe
    from studio.session import Session

GOING = ("running", "paused")
NAMED = 3
"""So many jobs that were left are named in a line."""


@dataclass(frozen=True)
class Standing:
    """`left`: jobs beside the one that is shown, those that run first, then the newest.

    `verdict`, `warning`: sentences of the one that is shown, empty where it has none.
    """

    left: tuple[JobProcess, ...]
    verdict: str = ""
    warning: str = ""

    def next(self, shown: JobProcess | None) -> JobProcess | None:
        """Job to show instead of the one that is: where that is gone, or does not run while another does."""
        status = None if shown is None else shown.status
        if not self.left or status in GOING:
            return None
        return self.left[0] if status in (None, "cancelled") or self.left[0].status in GOING else None


def look(session: Session, shown: JobProcess | None) -> Standing:
    """Read how the jobs on a session's network stand; raises FileError where the folder of all jobs cannot be read."""
    path = None if shown is None else shown.folder.path
    left = [job for job in session.jobs.unfinished() if job.folder.path != path]
    left.sort(key=lambda job: job.status not in GOING)
    if shown is not None and shown.status == "done":
        with suppress(StudioError):  # another window has just taken or discarded it
            made = shown.state().about.get("jobs", [])[-len(shown.recipe.jobs) :]
            verdict = " ".join(filter(None, (_said(made, "ended"), _said(made, "verdict"))))
            return Standing(tuple(left), verdict, _said(made, "warning"))
    return Standing(tuple(left))


def _said(jobs: Sequence[Mapping[str, Any]], what: str) -> str:
    """Sentences of some jobs of a recipe, with the job's name where there are several."""
    named = [(registry.find("jobs", job["job"]).title, job[what]) for job in jobs if job.get(what)]
    return " ".join(f"{title}: {text}" if len(jobs) > 1 else text for title, text in named)


def title(recipe: Recipe) -> str:
    """Jobs of a recipe as the screen names them: "Retrain, then Tune shared values"."""
    return ", then ".join(registry.find("jobs", spec.job).title for spec in recipe.jobs)


def more(left: Sequence[JobProcess]) -> str:
    """Line on the jobs that are left beside the one that is shown."""
    if not left:
        return ""
    named = [f"{title(job.recipe)}, {job.status}" for job in left[:NAMED]] + ["..."] * (len(left) > NAMED)
    count = f"{len(left)} more jobs on this network are" if len(left) > 1 else "1 more job on this network is"
    return f"{count} left ({'; '.join(named)}). The next is shown when this one is used, cancelled or discarded."
