"""One technique with its settings on one layer, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from studio.core import registry
from studio.core.checks import as_object, only
from studio.core.errors import PlanError
from studio.core.settings import Settings, validate
from studio.core.technique import Stage, Technique


@dataclass(frozen=True, init=False, eq=False)
class Step:
    """One technique with its settings: `Step("quantize", weight_bits=4)`. Validated when made.

    `Step.off("GRID")` switches one stage off on a layer.
    """

    technique: str | None
    stage: Stage
    settings: Mapping[str, Any]  # as the user gave them; `values` has the defaults filled in

    def __init__(self, technique: str, /, **settings: Any) -> None:
        values = validate(registry.find("techniques", technique).settings, settings, technique)
        kept = {name: getattr(values, name) for name in settings}
        self._set(technique, registry.find("techniques", technique).stage, kept)

    def _set(self, technique: str | None, stage: Stage, settings: dict[str, Any]) -> None:
        object.__setattr__(self, "technique", technique)
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "settings", MappingProxyType(settings))

    @classmethod
    def off(cls, stage: str) -> Step:
        """Nothing at this stage, whatever the plan's defaults say."""
        if stage not in Stage.__members__:
            raise PlanError(f"unknown stage '{stage}'.", remedy=f"Known: {', '.join(Stage.__members__)}.")
        step = cls.__new__(cls)
        step._set(None, Stage[stage], {})
        return step

    @property
    def found(self) -> Technique:
        """The technique itself; only for a step that is not `off`."""
        assert self.technique is not None
        technique: Technique = registry.find("techniques", self.technique)
        return technique

    @cached_property
    def values(self) -> Settings:
        """All settings, defaults filled in."""
        return self.found.settings.model_validate(dict(self.settings))

    def with_settings(self, **settings: Any) -> Step:
        """Return the same technique with some settings changed."""
        assert self.technique is not None
        return Step(self.technique, **{**self.settings, **settings})

    def to_json(self) -> dict[str, Any]:
        """Form in a plan file."""
        if self.technique is None:
            return {"stage": self.stage.name, "technique": None}
        return {"technique": self.technique, "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, value: Any, where: str = "plan") -> Step:
        """Step from its form in a plan file; raises PlanError naming the place."""
        if not isinstance(value, dict):
            remedy = 'Write {"technique": NAME, "settings": {...}}.'
            raise PlanError("a step must be an object with 'technique' and 'settings'.", where=where, remedy=remedy)
        if value.get("technique") is None and "stage" in value:
            only(value, ("stage", "technique"), where)
            return cls.off(str(value["stage"]))
        only(value, ("technique", "settings"), where)
        if not isinstance(value.get("technique"), str):
            raise PlanError("a step names no technique.", where=where, remedy=_known_techniques())
        settings = as_object(value.get("settings"), f"{where}: {value['technique']}: settings")
        try:
            return cls(value["technique"], **settings)
        except PlanError as error:
            raise PlanError(error.what, where=f"{where}: {error.where}".rstrip(": "), remedy=error.remedy) from None

    @cached_property
    def identity(self) -> str:
        """Text that is equal for equal steps, defaults filled in."""
        full = None if self.technique is None else self.values.model_dump_json()
        return f"{self.stage.name} {self.technique} {full}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        if self.technique is None:
            return f"Step.off({self.stage.name!r})"
        return f"Step({', '.join([repr(self.technique), *(f'{k}={v!r}' for k, v in self.settings.items())])})"


Steps = tuple[Step, ...]


def one_a_stage(steps: Steps, where: str) -> Steps:
    """Steps in the order of their stages; raises PlanError for two of one stage."""
    for stage in {s.stage for s in steps}:
        same = [s.technique for s in steps if s.stage == stage]
        if len(same) > 1:
            what = f"two steps of one stage ({stage.name}): {' and '.join(map(str, same))}."
            raise PlanError(what, where=where, remedy="Keep one of them.")
    return tuple(sorted(steps, key=lambda s: s.stage))


def steps_from_json(value: Any, where: str) -> Steps:
    """Steps from their form in a plan file; raises PlanError naming the place."""
    if not isinstance(value, list):
        raise PlanError("must be a list of steps.", where=where, remedy="Write [] for none.")
    return one_a_stage(tuple(Step.from_json(entry, where) for entry in value), where)


def named_steps(value: Any, where: str) -> dict[str, Steps]:
    """Steps by name of a layer or group, as in a plan file."""
    return {name: steps_from_json(own, f"{where}: {name}") for name, own in as_object(value, where).items()}


def _known_techniques() -> str:
    return f"Known: {', '.join(registry.names('techniques'))}."
