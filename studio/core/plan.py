"""The user's intent as a value: per layer a few steps. Plan = file = undo entry = recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.core import paths, registry
from studio.core.checks import as_object, only
from studio.core.errors import FileError, PlanError
from studio.core.jobspec import JobSpec, jobs_from_json
from studio.core.settings import validate
from studio.core.step import Step, Steps, named_steps, steps_from_json
from studio.core.technique import Stage

__all__ = ["Activations", "Attention", "Calibration", "JobSpec", "Plan", "Step", "Steps"]

FORMAT = 1


@dataclass(frozen=True)
class Activations:
    """Formats of tensors: `bits` 8, 16 or 32 (float), None = 8 where a layer has a GRID step.

    `layers` holds the bits of single output tensors; `calibration` chooses their ranges.
    """

    bits: int | None = None
    calibration: str = "mse"  # one of CALIBRATIONS
    layers: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Form in a plan file."""
        layers = {name: {"bits": bits} for name, bits in self.layers.items()}
        return {"bits": self.bits, "calibration": self.calibration, "layers": layers}

    @classmethod
    def from_json(cls, value: Any) -> Activations:
        """Raise PlanError naming the setting for anything unknown."""
        where = "plan: activations"
        only(value, ("bits", "calibration", "layers"), where)
        layers = {}
        for name, entry in as_object(value.get("layers"), f"{where}: layers").items():
            only(entry, ("bits",), f"{where}: {name}")
            layers[name] = _bits(entry.get("bits"), f"{where}: {name}")
        bits = value.get("bits")
        calibration = value.get("calibration", "mse")
        if calibration not in CALIBRATIONS:
            remedy = f"Choose one of {', '.join(CALIBRATIONS)}."
            raise PlanError(f"unknown calibration {calibration!r}.", where=where, remedy=remedy)
        return cls(None if bits is None else _bits(bits, where), calibration, layers)


ACTIVATION_BITS = (8, 16, 32)
"""Bits of a tensor; 32 = float."""

SOURCES = ("train", "calibration", "evaluation")
"""Roles that calibration data can have."""

EXPORT_OPTIONS = {"onnx_weights": ("int8", "uint8")}
"""Options of the writers that a plan may hold, with their values."""

CALIBRATIONS = ("min_max", "percentile", "mse", "entropy")
"""Ways to choose the range of a tensor."""


@dataclass(frozen=True)
class Calibration:
    """Where ranges come from: a role, never a path."""

    source: str = "train"  # one of SOURCES
    samples: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Attention:
    """The selective-attention stage in front of the network."""

    selector: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    crop: tuple[int, int] | None = None  # window (height, width) in frame pixels; None = the network's input size


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything the user decided, immutable; equal plans have equal `key`s."""

    defaults: Steps = ()
    layers: Mapping[str, Steps] = field(default_factory=dict)
    groups: Mapping[str, Steps] = field(default_factory=dict)
    activations: Activations = Activations()
    calibration: Calibration = Calibration()
    attention: Attention | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    export: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] | None = None
    jobs: tuple[JobSpec, ...] = ()
    state: str | None = None  # id of the State whose decisions hold; lies beside the plan, never in its file

    def with_step(self, layer: str, step: Step) -> Plan:
        """Return a plan in which `step` takes its stage on `layer`; the layer's other own steps stay."""
        own = [s for s in self._own(layer) if s.stage != step.stage]
        return replace(self, layers={**self.layers, layer: tuple(sorted([*own, step], key=lambda s: s.stage))})

    def with_group_step(self, group: str, step: Step) -> Plan:
        """Return a plan in which `step` (of stage STRUCTURE) is what the channel group gets."""
        return replace(self, groups={**self.groups, group: (step,)})

    def without(self, layer: str, stage: Stage) -> Plan:
        """Return a plan in which `layer` has no step of its own at `stage`: the default holds again."""
        own = tuple(s for s in self._own(layer) if s.stage != stage)
        layers = {name: steps for name, steps in self.layers.items() if name != layer}
        return replace(self, layers={**layers, layer: own} if own else layers)

    def without_stages(self, *stages: Stage) -> Plan:
        """Return a plan without any step of these stages; explicit bits of tensors go with GRID."""
        layers = {}
        for name, own in self.layers.items():
            kept = tuple(s for s in own if s.stage not in stages)
            if kept or not own:
                layers[name] = kept
        kept = tuple(s for s in self.defaults if s.stage not in stages)
        activations = Activations(calibration=self.activations.calibration)
        return replace(
            self, defaults=kept, layers=layers, activations=activations if Stage.GRID in stages else self.activations
        )

    def _own(self, layer: str) -> Steps:
        """Own steps of a layer; `[]` in a plan means that every default is off."""
        own = self.layers.get(layer)
        return own or (() if own is None else tuple(Step.off(s.stage.name) for s in self.defaults))

    def with_default(self, step: Step) -> Plan:
        """Return a plan in which `step` takes its stage on every layer that has none of its own."""
        kept = [s for s in self.defaults if s.stage != step.stage]
        return replace(self, defaults=tuple(sorted([*kept, step], key=lambda s: s.stage)))

    def with_activation(self, layer: str, bits: int | None) -> Plan:
        """Return a plan in which the output tensor of `layer` has `bits` (8, 16, 32 = float, None = by the rule)."""
        layers = {name: b for name, b in self.activations.layers.items() if name != layer}
        if bits is not None:
            layers[layer] = _bits(bits, f"activation of {layer}")
        return replace(self, activations=replace(self.activations, layers=layers))

    def steps(self, layer: str) -> Steps:
        """Effective steps of a layer: defaults, replaced per stage by its own; `[]` of its own = nothing."""
        own = self.layers.get(layer)
        if own is None:
            return tuple(s for s in self.defaults if s.technique)
        if not own:
            return ()
        stages = {s.stage: s for s in self.defaults} | {s.stage: s for s in own}
        return tuple(stages[k] for k in sorted(stages) if stages[k].technique)

    @cached_property
    def key(self) -> str:
        """Content key: equal for plans that mean the same."""
        value = [self._json(lambda s: s.identity), self.state]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def to_json(self) -> dict[str, Any]:
        """Form of a plan file."""
        return self._json(Step.to_json)

    def _json(self, form: Callable[[Step], Any]) -> dict[str, Any]:
        def steps(of: Mapping[str, Steps]) -> dict[str, Any]:
            return {name: [form(s) for s in own] for name, own in sorted(of.items())}

        attention = self.attention and {
            "selector": self.attention.selector,
            "settings": dict(self.attention.settings),
            "crop": list(self.attention.crop) if self.attention.crop else None,
        }
        return {
            "format": FORMAT,
            "model": dict(self.model) if self.model else None,
            "defaults": [form(s) for s in self.defaults],
            "layers": steps(self.layers),
            "groups": steps(self.groups),
            "activations": self.activations.to_json(),
            "calibration": {f.name: getattr(self.calibration, f.name) for f in fields(Calibration)},
            "jobs": [job.to_json() for job in self.jobs],
            "attention": attention,
            "preprocess": dict(self.preprocess),
            "export": dict(self.export),
        }

    @classmethod
    def from_json(cls, value: Any) -> Plan:
        """Plan from its JSON form; raises PlanError that names what is unknown or out of range."""
        only(value, KEYS, "plan")
        if value.get("format", FORMAT) != FORMAT:
            remedy = "Update the studio." if str(value["format"]).isdigit() else 'It must be "format": 1.'
            raise PlanError(f"plan format {value['format']!r} is not known here.", where="plan", remedy=remedy)
        return cls(
            defaults=steps_from_json(value.get("defaults") or [], "plan: defaults"),
            layers=named_steps(value.get("layers"), "plan: layers"),
            groups=named_steps(value.get("groups"), "plan: groups"),
            activations=Activations.from_json(value.get("activations") or {}),
            calibration=_calibration(as_object(value.get("calibration"), "plan: calibration")),
            attention=_attention(value.get("attention")),
            preprocess=as_object(value.get("preprocess"), "plan: preprocess"),
            export=export_options(as_object(value.get("export"), "plan: export")),
            model=None if value.get("model") is None else as_object(value["model"], "plan: model"),
            jobs=jobs_from_json(value.get("jobs") or []),
        )

    def text(self) -> str:
        """Content of a plan file."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def save(self, path: Path | str) -> None:
        """Write the plan file atomically."""
        paths.write_text(Path(path), self.text())

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan file; raises FileError or PlanError that name file, place and remedy."""
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(f"cannot be read ({error.strerror}).", where=str(path), remedy="Check the path.") from None
        except (ValueError, RecursionError) as error:
            remedy = "Give a plan.json that the studio wrote."
            raise FileError(f"is not a plan: {error}.", where=str(path), remedy=remedy) from None
        try:
            return cls.from_json(value)
        except PlanError as error:
            where = f"{path}: {error.where}" if error.where else str(path)
            raise type(error)(error.what, where=where, remedy=error.remedy) from None


KEYS = (
    "format",
    "model",
    "defaults",
    "layers",
    "groups",
    "activations",
    "calibration",
    "jobs",
    "attention",
    "preprocess",
    "export",
)


def _bits(value: Any, where: str) -> int:
    if isinstance(value, bool) or value not in ACTIVATION_BITS:
        raise PlanError(
            f"activation bits {value!r} are not possible.", where=where, remedy="Choose 8, 16 or 32 (= float)."
        )
    return int(value)


def _calibration(value: dict[str, Any]) -> Calibration:
    where = "plan: calibration"
    only(value, [f.name for f in fields(Calibration)], where)
    made = Calibration(**value)
    if made.source not in SOURCES:
        remedy = "Choose train, calibration or evaluation (a role, not a path)."
        raise PlanError(f"unknown source {made.source!r}.", where=where, remedy=remedy)
    for name, least in (("samples", 1), ("seed", 0)):
        number = getattr(made, name)
        if type(number) is not int or number < least:
            raise PlanError(f"{name} = {number!r} is not possible.", where=where, remedy=f"Choose {least} or more.")
    return made


def _attention(value: Any) -> Attention | None:
    if value is None:
        return None
    only(value, ("selector", "settings", "crop"), "plan: attention")
    name = str(value.get("selector"))
    where = f"plan: attention: {name}"
    settings = as_object(value.get("settings"), where)
    validate(registry.find("attention", name).settings, settings, where)
    return Attention(name, settings, _crop(value.get("crop"), where))


def _crop(value: Any, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(n) is int and n > 0 for n in value):
        raise PlanError(f"crop {value!r} is no size.", where=where, remedy="Write [height, width] in pixels.")
    return value[0], value[1]


def export_options(value: dict[str, Any]) -> dict[str, Any]:
    """Options of the writers; raises PlanError that names what is unknown."""
    only(value, EXPORT_OPTIONS, "plan: export")
    for name, chosen in value.items():
        if chosen not in EXPORT_OPTIONS[name]:
            remedy = f"Choose one of {', '.join(EXPORT_OPTIONS[name])}."
            raise PlanError(f"{name} = {chosen!r} is not possible.", where="plan: export", remedy=remedy)
    return value
