"""Settings declared once: sliders, command line flags, JSON schema and help come from here."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from studio.core.errors import PlanError


class Settings(BaseModel):
    """The settings of one technique, selector or job: frozen, JSON values only, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @field_validator("*")
    @classmethod
    def _one_of(cls, value: Any, info: ValidationInfo) -> Any:
        choices = _extra(cls.model_fields[str(info.field_name)]).get("enum")
        if choices and value not in choices:
            raise PydanticCustomError("choice", "it is none of the choices")
        return value


def setting(
    default: Any,
    help: str,
    *,
    title: str = "",
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
    strength: Literal["up", "down"] | None = None,
    choices: Sequence[str] = (),
    file: bool = False,
) -> Any:
    """Declare one setting.

    `strength` marks the one axis along which the technique gets stronger ("up": larger values
    compress more, "down": smaller ones do); the slider of the technique's card is this setting.
    `choices` makes a choice of a `str` whose values are only known from a registry; `file` marks a `str`
    that names a file.
    """
    extra: Any = {"unit": unit, "step": step, "strength": strength}
    if choices:
        extra["enum"] = list(choices)
    if file:
        extra["format"] = "path"
    return Field(default, title=title or None, description=help, ge=low, le=high, json_schema_extra=extra)


@dataclass(frozen=True)
class Declared:
    """One declared setting as a control needs it. `kind` is int, float, bool, choice, text or file."""

    name: str
    title: str
    help: str
    kind: Literal["int", "float", "bool", "choice", "text", "file"]
    default: Any
    low: float | None
    high: float | None
    step: float | None
    unit: str
    strength: Literal["up", "down"] | None
    choices: tuple[Any, ...]


def declared(settings: type[Settings]) -> tuple[Declared, ...]:
    """All settings of a type in the order of their declaration."""
    return tuple(_declared(name, field) for name, field in settings.model_fields.items())


def strength_of(settings: type[Settings]) -> Declared | None:
    """Return the strength axis, or None for a technique without one."""
    return next((d for d in declared(settings) if d.strength), None)


SettingsType = typing.TypeVar("SettingsType", bound=Settings)


def validate(settings: type[SettingsType], values: dict[str, Any], where: str) -> SettingsType:
    """Settings from JSON values; raises PlanError that names the setting, its range and the remedy."""
    plain = {name: v.item() if getattr(v, "ndim", None) == 0 else v for name, v in values.items()}  # numpy's numbers
    try:
        return settings.model_validate(plain)
    except ValidationError as error:
        raise PlanError(_sentence(settings, error), where=where, remedy=_remedy(settings, error)) from None


def _declared(name: str, field: Any) -> Declared:
    extra = _extra(field)
    low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    kind, choices = _kind(field.annotation, extra.get("enum"), "format" in extra)
    title = field.title or name.replace("_", " ").capitalize()
    return Declared(
        name, title, field.description or "", kind, field.default, low, high,
        extra.get("step"), extra.get("unit", ""), extra.get("strength"), choices,
    )  # fmt: skip


def _extra(field: Any) -> dict[str, Any]:
    return field.json_schema_extra or {}


def _kind(
    annotation: Any, choices: list[str] | None, file: bool
) -> tuple[Literal["int", "float", "bool", "choice", "text", "file"], tuple[Any, ...]]:
    if choices:
        return "choice", tuple(choices)
    if file:
        return "file", ()
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is Literal:
        return "choice", typing.get_args(annotation)
    kinds: dict[Any, Literal["int", "float", "bool", "text"]] = {bool: "bool", int: "int", float: "float", str: "text"}
    return kinds[annotation], ()


def _sentence(settings: type[Settings], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{name}'."
    return f"setting '{name}' = {first.get('input')!r} is not possible: {first['msg'].lower()}."


def _remedy(settings: type[Settings], error: ValidationError) -> str:
    name = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
    known = {d.name: d for d in declared(settings)}
    if name not in known:
        return "Possible settings: " + (", ".join(known) or "none") + "."
    d = known[name]
    if d.choices:
        return "Choose one of " + ", ".join(map(str, d.choices)) + "."
    unit = f" {d.unit}" if d.unit else ""
    return f"Choose a value from {d.low:g} to {d.high:g}{unit}." if d.low is not None and d.high is not None else ""
