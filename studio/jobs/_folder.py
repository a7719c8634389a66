"""The folder of a job: all that it is given, tells and leaves; readable by any process, whoever was killed.

job.json       the recipe                            start.state   state that the plan came with
N.checkpoint   where job N of the recipe stands      N.state       what it made
progress.jsonl one line a report                     control       what the user wants: go, pause, cancel, suspend
result.json    how it ended                          lock, log     of the worker
reserve        bytes that a full disk leaves for how it ended
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from studio.core import errors, paths
from studio.core.errors import FileError, PlanError, StudioError
from studio.core.state import State
from studio.jobs import _locks
from studio.jobs._base import Report
from studio.jobs._recipe import Recipe

Wish = Literal["go", "pause", "cancel", "suspend"]
Ending = Literal["done", "cancelled", "failed"]
RESERVE = bytes(8192)


@dataclass(frozen=True)
class Told:
    """A report of job `job` (from 0) of a recipe, `at` seconds since 1970. A step told again replaces the first."""

    job: int
    report: Report
    at: float


@dataclass(frozen=True)
class Outcome:
    """How a recipe ended: the state's id where it is done, else what went wrong. `seconds`: of work, by job."""

    status: Ending
    state: str | None = None
    seconds: tuple[float, ...] = ()
    error: Mapping[str, str] | None = None  # kind, what, where, remedy

    def check(self) -> None:
        """Raise what went wrong: the StudioError that the job ended with, or Cancelled."""
        if self.status == "cancelled":
            raise errors.Cancelled
        if self.error is not None:
            kind = getattr(errors, self.error["kind"], StudioError)
            raise kind(self.error["what"], where=self.error["where"], remedy=self.error["remedy"])


def jobs_folder() -> Path:
    """Folder of all jobs of this user; raises FileError where it cannot be made."""
    return paths.user_folder("jobs")


@dataclass(frozen=True)
class JobFolder:
    """Paths and files of one job."""

    path: Path

    def recipe(self) -> Recipe:
        """What is to be done; raises FileError where the folder holds no job."""
        try:
            return Recipe.from_json(json.loads((self.path / "job.json").read_text()))
        except (OSError, ValueError, KeyError, TypeError, PlanError) as error:
            remedy = "Start the job anew."
            raise FileError(f"is no folder of a job: {error}.", where=str(self.path), remedy=remedy) from None

    @property
    def begun(self) -> str | None:
        """Id of the recipe that was begun here, over the files as they were then; None in an empty folder."""
        try:
            return str(json.loads((self.path / "job.json").read_text())["id"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def prepare(self, recipe: Recipe, start: State | None) -> None:
        """Make the folder ready to begin, or to go on with what was not finished.

        Raises FileError where it holds something else.
        """
        if self.begun is not None:
            if self.begun != recipe.id:
                what = "holds a job with other settings, or its model or data were changed since."
                raise FileError(what, where=str(self.path), remedy="Start the job anew, in an empty folder.")
            ended = self.outcome()
            if ended is not None and ended.status == "cancelled":
                self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "result.json").unlink(missing_ok=True)
        if start is not None:
            start.save(self.path / "start.state")
        self.wish("go")
        paths.write_bytes(self.path / "reserve", RESERVE)
        paths.write_text(self.path / "job.json", json.dumps({"id": recipe.id, **recipe.to_json()}, indent=1))

    def clear(self) -> None:
        """Remove what was made so far; the lock stays."""
        for file in self.path.iterdir():
            if file.name != "lock":
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    # -- who works on it --------------------------------------------------------------------------

    @property
    def lock(self) -> Path:
        """Held by the worker as long as it lives."""
        return self.path / "lock"

    @property
    def alive(self) -> bool:
        """True while a worker runs."""
        return _locks.held(self.lock)

    def wish(self, wish: Wish) -> None:
        """Say what the user wants; a worker that runs sees it within a batch, one that starts later too."""
        paths.write_text(self.path / "control", wish)

    def wished(self) -> Wish:
        """What the user wants."""
        with suppress(OSError):
            text = (self.path / "control").read_text()
            if text in ("pause", "cancel", "suspend"):
                return text  # type: ignore[return-value]
        return "go"

    # -- what it made -----------------------------------------------------------------------------

    def checkpoint(self, job: int) -> Path:
        """Where job `job` of the recipe keeps its checkpoint."""
        return self.path / f"{job}.checkpoint"

    def state(self, job: int) -> Path:
        """State that job `job` of the recipe made."""
        return self.path / f"{job}.state"

    def before(self, job: int) -> State | None:
        """State that job `job` starts from; raises FileError for a damaged one."""
        file = self.state(job - 1) if job else self.path / "start.state"
        return State.load(file) if job or file.exists() else None

    def finished(self) -> int:
        """Number of jobs of the recipe that have made their state."""
        job = 0
        while self.state(job).exists():
            job += 1
        return job

    @property
    def saved(self) -> bool:
        """True where something of the work is kept: a checkpoint, or the end of a job of the recipe."""
        job = self.finished()
        return job > 0 or self.checkpoint(job).exists()

    def tell(self, job: int, report: Report) -> None:
        """Append a report; a full disk loses it and no more."""
        facts = {f.name: getattr(report, f.name) for f in fields(Report)} | {"values": dict(report.values)}
        line = json.dumps({"job": job, "at": time.time(), **facts})
        with suppress(OSError), (self.path / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(("" if _ends_whole(self.path / "progress.jsonl") else "\n") + line + "\n")

    def told(self, offset: int = 0) -> tuple[list[Told], int]:
        """Reports from a place in the file on, and the place where to go on reading."""
        lines, end = self.lines(offset)
        return list(read_reports(lines)), end

    def lines(self, offset: int) -> tuple[bytes, int]:
        """Whole lines of reports from a place in the file on, and the place where to go on reading."""
        try:
            with (self.path / "progress.jsonl").open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return b"", 0
        whole = content[: content.rfind(b"\n") + 1]
        return whole, offset + len(whole)

    def finish(self, outcome: Outcome) -> None:
        """Say how it ended, on a full disk too."""
        (self.path / "reserve").unlink(missing_ok=True)
        paths.write_text(self.path / "result.json", json.dumps(asdict(outcome)))

    def outcome(self) -> Outcome | None:
        """How it ended, or None where it has not."""
        try:
            value = json.loads((self.path / "result.json").read_text())
            return Outcome(value["status"], value["state"], tuple(value["seconds"]), value["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _ends_whole(path: Path) -> bool:
    """False where a kill has torn the last line."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
    return True


def read_reports(content: bytes) -> Iterator[Told]:
    """Reports of lines that a job has written; what is no report is left out."""
    for line in content.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            value = json.loads(line)
            job, at = int(value.pop("job")), float(value.pop("at"))
            yield Told(job, Report(**value), at)
