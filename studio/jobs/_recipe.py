"""A recipe: jobs in order on one plan, each on the state of the one before, with all that repeats it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studio import __version__
from studio.core.code import source_file
from studio.core.errors import ModelError
from studio.core.graph import Graph, Layer
from studio.core.jobspec import JobSpec, jobs_from_json
from studio.core.opened import Opened
from studio.core.plan import Plan
from studio.core.settings import declared
from studio.core.state import State
from studio.core.step import Step, Steps
from studio.core.technique import Stage
from studio.engine.resolve import canonical
from studio.jobs._narrower import narrowed

CHECKPOINT_S = 20.0
"""A checkpoint is due this long after the last; with a batch of up to 10 s, at most 30 s of work are lost."""


def versions() -> dict[str, str]:
    """Versions of the code that a result depends on."""
    return {"studio": __version__, "torch": version("torch")}


@dataclass(frozen=True)
class Recipe:
    """What was open, a plan (with the state it starts from), jobs in order, and threads: the same result again.

    The plan has the cut of a job that makes the network narrower, for all jobs.
    No part of the identity: `folder`, where code of the user's is found, as `python -m` finds it, and
    `checkpoint_s`, seconds of work between two checkpoints.
    """

    opened: Opened
    plan: Plan
    jobs: tuple[JobSpec, ...]
    threads: int = 1
    versions: Mapping[str, str] = field(default_factory=versions)
    folder: str = field(default_factory=os.getcwd)
    checkpoint_s: float = CHECKPOINT_S

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", narrowed(self.plan, [spec.values for spec in self.jobs]))

    @cached_property
    def id(self) -> str:
        """Same for the same work on the same files under the same code: 16 hexadecimal digits."""
        files = [_stamp(path) for path in self._files]
        value = {**self.to_json(), "folder": None, "checkpoint_s": None, "plan": self._plan_key, "files": files}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def _files(self) -> list[str | None]:
        """Files that the result depends on: those opened, and those that settings of the jobs name."""
        values = [spec.values for spec in self.jobs]
        named = [getattr(own, one.name) for own in values for one in declared(type(own)) if one.kind == "file"]
        opened = self.opened
        code = [source_file(name) for name in opened.code]
        return [opened.model, opened.data, opened.calibration, opened.train, *code, *named]

    @property
    def target(self) -> str:
        """Key of the plan on its model and data: what only one job at a time may train."""
        return f"{self.opened.model} {self.opened.data} {self._plan_key}"

    @property
    def _plan_key(self) -> str:
        return replace(self.plan, jobs=()).key

    @property
    def title(self) -> str:
        """Names of the jobs in words: "retrain, then tune_centroids"."""
        return ", then ".join(spec.job for spec in self.jobs)

    def check(self) -> None:
        """Raise ModelError where another process could not open the model."""
        if self.opened.factory is None and not Path(self.opened.model).is_file():
            remedy = "Save it (torch.onnx.export), open that file and train again."
            what = "the model is in memory only, and a job runs in a process of its own."
            raise ModelError(what, where=Path(self.opened.model).name, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives back an equal recipe."""
        return {
            "opened": asdict(self.opened),
            "plan": self.plan.to_json(),
            "state": self.plan.state,
            "jobs": [spec.to_json() for spec in self.jobs],
            "threads": self.threads,
            "versions": dict(self.versions),
            "folder": self.folder,
            "checkpoint_s": self.checkpoint_s,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Raise PlanError, KeyError or TypeError for what is no recipe."""
        opened = dict(value["opened"])
        opened["input_shape"] = opened["input_shape"] and tuple(opened["input_shape"])
        plan = replace(Plan.from_json(value["plan"]), state=value["state"])
        jobs = jobs_from_json(value["jobs"])
        return cls(
            Opened(**opened), plan, jobs, int(value["threads"]), dict(value["versions"]), value["folder"],
            float(value["checkpoint_s"]),
        )  # fmt: skip


def plan_of(plan: Plan, spec: JobSpec, graph: Graph, state: str | None) -> Plan:
    """Return the plan under which one job trains: the job's own steps replace all of the plan's, where it has any.

    A job that makes the network narrower has its cut in either case.
    Names of these steps may be globs; a layer that refuses what a glob gives it goes without, as with defaults.
    Raises PlanError for unknown layers, Refused for a step on a named layer that it cannot take.
    """
    plan = replace(plan, jobs=(), state=state)
    if spec.layers or spec.groups:
        layers, groups = _spread(spec.layers, graph), _spread(spec.groups, graph, grouped=True)
        plan = canonical(replace(plan, defaults=(), layers=layers, groups=groups), graph)
    return narrowed(plan, [spec.values])


def trained(recipe: Recipe, state: State) -> Plan:
    """Return the recipe's plan with its result and with all jobs that made it, so that its file repeats it."""
    before = recipe.plan.jobs if recipe.plan.state is not None else ()
    return replace(recipe.plan, state=state.id, jobs=(*before, *recipe.jobs))


def _spread(wanted: Mapping[str, Steps], graph: Graph, *, grouped: bool = False) -> dict[str, Steps]:
    """Steps by layer, or by channel group; a name counts more than a glob."""
    found: dict[str, Steps] = {}
    for pattern, steps in sorted(wanted.items(), key=lambda entry: not _is_glob(entry[0], graph)):
        for layer in graph.match(pattern):
            taken = tuple(s for s in steps if _accepts(layer, s, graph)) if _is_glob(pattern, graph) else steps
            if taken or not steps:
                found[(layer.group if grouped else None) or layer.name] = taken
    return found


def _is_glob(pattern: str, graph: Graph) -> bool:
    return pattern not in graph and any(c in pattern for c in "*?[")


def _accepts(layer: Layer, step: Step, graph: Graph) -> bool:
    if step.technique is None:
        return True
    if step.stage == Stage.STRUCTURE:
        if layer.group is None:
            return False
        layer = graph.layer(layer.group)
    return step.found.refuses(layer, step.values) is None


def _stamp(path: str | None) -> list[int] | None:
    """Size and time of a file; None where there is none."""
    if not path or not Path(path).exists():
        return None
    status = Path(path).stat()
    return [status.st_size, status.st_mtime_ns]
