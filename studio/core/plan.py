"""The user's intent as a value: per layer a few steps. Plan = file = undo entry = recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from studio.core import paths, registry
from studio.core.errors import FileError, PlanError
from studio.core.settings import Settings, validate
from studio.core.technique import Stage, Technique

FORMAT = 1


@dataclass(frozen=True, init=False, eq=False)
class Step:
    """One technique with its settings: `Step("quantize", weight_bits=4)`. Validated when made.

    `Step.off("GRID")` switches one stage off on a layer.
    """

    technique: str | None
    stage: Stage
    settings: Mapping[str, Any]  # as the user gave them; `values` has the defaults filled in

    def __init__(self, technique: str, **settings: Any) -> None:
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
            raise PlanError("a step must be an object with 'technique' and 'settings'.", where=where)
        if value.get("technique") is None and "stage" in value:
            return cls.off(value["stage"])
        _only(value, ("technique", "settings"), where)
        try:
            return cls(str(value.get("technique")), **value.get("settings", {}))
        except PlanError as error:
            raise PlanError(error.what, where=f"{where}: {error.where}".rstrip(": "), remedy=error.remedy) from None

    def _identity(self) -> str:
        full = None if self.technique is None else self.values.model_dump_json()
        return f"{self.stage.name} {self.technique} {full}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        if self.technique is None:
            return f"Step.off({self.stage.name!r})"
        return f"Step({', '.join([repr(self.technique), *(f'{k}={v!r}' for k, v in self.settings.items())])})"


Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Activations:
    """Formats of tensors: `bits` 8 or 32 (float), None = 8 where a layer has a GRID step.

    `layers` holds the bits of single output tensors; `calibration` chooses their ranges.
    """

    bits: int | None = None
    calibration: str = "mse"  # min_max, percentile, mse
    layers: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Form in a plan file."""
        layers = {name: {"bits": bits} for name, bits in self.layers.items()}
        return {"bits": self.bits, "calibration": self.calibration, "layers": layers}

    @classmethod
    def from_json(cls, value: Any) -> Activations:
        """Raise PlanError naming the setting for anything unknown."""
        where = "plan: activations"
        _only(value, ("bits", "calibration", "layers"), where)
        layers = {}
        for name, entry in value.get("layers", {}).items():
            _only(entry, ("bits",), f"{where}: {name}")
            layers[name] = _bits(entry.get("bits"), f"{where}: {name}")
        bits = value.get("bits")
        calibration = value.get("calibration", "mse")
        if calibration not in CALIBRATIONS:
            remedy = f"Choose one of {', '.join(CALIBRATIONS)}."
            raise PlanError(f"unknown calibration {calibration!r}.", where=where, remedy=remedy)
        return cls(None if bits is None else _bits(bits, where), calibration, layers)


CALIBRATIONS = ("min_max", "percentile", "mse")
"""Ways to choose the range of a tensor."""


@dataclass(frozen=True)
class Calibration:
    """Where ranges come from: a role, never a path."""

    source: str = "train"  # train, calibration, evaluation
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

    def with_step(self, layer: str, step: Step) -> Plan:
        """Return a plan in which `step` takes its stage on `layer`; the layer's other own steps stay."""
        own = [s for s in self.layers.get(layer, ()) if s.stage != step.stage]
        return replace(self, layers={**self.layers, layer: tuple(sorted([*own, step], key=lambda s: s.stage))})

    def without(self, layer: str, stage: Stage) -> Plan:
        """Return a plan in which `layer` has no step of its own at `stage`: the default holds again."""
        own = tuple(s for s in self.layers.get(layer, ()) if s.stage != stage)
        layers = {name: steps for name, steps in self.layers.items() if name != layer}
        return replace(self, layers={**layers, layer: own} if own else layers)

    def with_default(self, step: Step) -> Plan:
        """Return a plan in which `step` takes its stage on every layer that has none of its own."""
        kept = [s for s in self.defaults if s.stage != step.stage]
        return replace(self, defaults=tuple(sorted([*kept, step], key=lambda s: s.stage)))

    def with_activation(self, layer: str, bits: int | None) -> Plan:
        """Return a plan in which the output tensor of `layer` has `bits` (8, 32 = float, None = by the rule)."""
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
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def to_json(self) -> dict[str, Any]:
        """Form of a plan file (INTERFACE: Plan file)."""

        def steps(of: Mapping[str, Steps]) -> dict[str, Any]:
            return {name: [s.to_json() for s in own] for name, own in sorted(of.items())}

        attention = self.attention and {
            "selector": self.attention.selector,
            "settings": dict(self.attention.settings),
            "crop": list(self.attention.crop) if self.attention.crop else None,
        }
        return {
            "format": FORMAT,
            "model": dict(self.model) if self.model else None,
            "defaults": [s.to_json() for s in self.defaults],
            "layers": steps(self.layers),
            "groups": steps(self.groups),
            "activations": self.activations.to_json(),
            "calibration": {f.name: getattr(self.calibration, f.name) for f in fields(Calibration)},
            "jobs": [],
            "attention": attention,
            "preprocess": dict(self.preprocess),
            "export": dict(self.export),
        }

    @classmethod
    def from_json(cls, value: Any) -> Plan:
        """Plan from its JSON form; raises PlanError that names what is unknown or out of range."""
        _only(value, KEYS, "plan")
        if value.get("format", FORMAT) != FORMAT:
            remedy = "Update the studio." if str(value["format"]).isdigit() else 'It must be "format": 1.'
            raise PlanError(f"plan format {value['format']!r} is not known here.", remedy=remedy)
        if value.get("jobs"):
            raise PlanError(
                f"job {value['jobs'][0].get('job')!r} is not known here.", where="plan: jobs", remedy="Remove it."
            )
        calibration = value.get("calibration") or {}
        _only(calibration, [f.name for f in fields(Calibration)], "plan: calibration")
        return cls(
            defaults=_steps(value.get("defaults", []), "defaults"),
            layers={n: _steps(s, n) for n, s in (value.get("layers") or {}).items()},
            groups={n: _steps(s, n) for n, s in (value.get("groups") or {}).items()},
            activations=Activations.from_json(value.get("activations") or {}),
            calibration=_calibration(calibration),
            attention=_attention(value.get("attention")),
            preprocess=value.get("preprocess") or {},
            export=value.get("export") or {},
            model=value.get("model"),
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
        except ValueError as error:
            raise FileError(
                f"is not a plan: {error}.", where=str(path), remedy="Give a plan.json that the studio wrote."
            ) from None
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


def _only(value: Any, known: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise PlanError("must be an object.", where=where, remedy=f"Possible keys: {', '.join(known)}.")
    for key in value:
        if key not in known:
            raise PlanError(f"unknown key '{key}'.", where=where, remedy=f"Possible keys: {', '.join(known)}.")


def _steps(value: Any, where: str) -> Steps:
    if not isinstance(value, list):
        raise PlanError("must be a list of steps.", where=f"plan: {where}")
    steps = [Step.from_json(entry, f"plan: {where}") for entry in value]
    for stage in {s.stage for s in steps}:
        same = [s.technique for s in steps if s.stage == stage]
        if len(same) > 1:
            what = f"two steps of one stage ({stage.name}): {' and '.join(map(str, same))}."
            raise PlanError(what, where=f"plan: {where}", remedy="Keep one of them.")
    return tuple(sorted(steps, key=lambda s: s.stage))


def _bits(value: Any, where: str) -> int:
    if value not in (8, 32):
        raise PlanError(f"activation bits {value!r} are not possible.", where=where, remedy="Choose 8 or 32 (= float).")
    return int(value)


def _calibration(value: dict[str, Any]) -> Calibration:
    made = Calibration(**value)
    if made.source not in ("train", "calibration", "evaluation"):
        remedy = "Choose train, calibration or evaluation (a role, not a path)."
        raise PlanError(f"unknown source {made.source!r}.", where="plan: calibration", remedy=remedy)
    if not isinstance(made.samples, int) or made.samples < 1:
        raise PlanError(f"samples = {made.samples!r}.", where="plan: calibration", remedy="Choose 1 or more.")
    return made


def _attention(value: Any) -> Attention | None:
    if value is None:
        return None
    _only(value, ("selector", "settings", "crop"), "plan: attention")
    selector = registry.find("attention", str(value.get("selector")))
    settings = value.get("settings") or {}
    validate(selector.settings, settings, f"plan: attention: {value['selector']}")
    crop = value.get("crop")
    return Attention(value["selector"], settings, (int(crop[0]), int(crop[1])) if crop else None)
