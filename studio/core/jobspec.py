"""A training job as a plan holds it: which one, its settings, and the steps that hold while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from studio.core import registry
from studio.core.checks import as_object, only
from studio.core.errors import PlanError
from studio.core.settings import Settings, validate
from studio.core.step import Steps, named_steps


@dataclass(frozen=True, eq=False)
class JobSpec:
    """One job of a recipe: `JobSpec("retrain", {"epochs": 5})`. Validated when made.

    `layers` and `groups`: steps that replace the plan's while the job runs (prune first, share later);
    both empty = the whole plan.
    """

    job: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # as the user gave them
    layers: Mapping[str, Steps] = field(default_factory=dict)
    groups: Mapping[str, Steps] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = registry.find("jobs", self.job)
        values = validate(found.settings, dict(self.settings), self.job)
        kept = {name: getattr(values, name) for name in self.settings}
        object.__setattr__(self, "settings", MappingProxyType(kept))

    @property
    def values(self) -> Settings:
        """All settings, defaults filled in."""
        settings: type[Settings] = registry.find("jobs", self.job).settings
        return settings.model_validate(dict(self.settings))

    def to_json(self) -> dict[str, Any]:
        """Form in a plan file."""
        steps = {
            part: {name: [s.to_json() for s in own] for name, own in sorted(of.items())}
            for part, of in (("layers", self.layers), ("groups", self.groups))
        }
        return {"job": self.job, "settings": dict(self.settings), "plan": steps}


def jobs_from_json(value: Any) -> tuple[JobSpec, ...]:
    """Jobs of a plan file; raises PlanError naming the place."""
    if not isinstance(value, list):
        what = f"must be a list of jobs, not {json.dumps(value)[:40]}."
        raise PlanError(what, where="plan: jobs", remedy="Write [] for none.")
    return tuple(_job(entry, f"plan: jobs: {i + 1}") for i, entry in enumerate(value))


def _job(value: Any, where: str) -> JobSpec:
    only(value, ("job", "settings", "plan"), where)
    if not isinstance(value.get("job"), str):
        known = ", ".join(registry.names("jobs")) or "none"
        raise PlanError("a job names none.", where=where, remedy=f"Known: {known}.")
    steps = as_object(value.get("plan"), f"{where}: plan")
    only(steps, ("layers", "groups"), f"{where}: plan")
    layers, groups = (named_steps(steps.get(part), f"{where}: {part}") for part in ("layers", "groups"))
    try:
        return JobSpec(value["job"], as_object(value.get("settings"), f"{where}: settings"), layers, groups)
    except PlanError as error:
        raise PlanError(error.what, where=f"{where}: {error.where}".rstrip(": "), remedy=error.remedy) from None
