"""Steps as text, as `--set` takes them: `layer3.*:quantize(weight_bits=4,per_channel=false)`."""

from __future__ import annotations

import json
import re
from typing import Any

from studio.core.errors import PlanError
from studio.core.plan import Step
from studio.core.technique import Stage

FORM = "Write LAYER:technique(key=value,..), as in 'layer3.*:quantize(weight_bits=4)', 'fc:off(GRID)' or 'fc:float'."
CALL = "Write name(key=value,..), as in 'edge_density(stride=4)'."

LONGEST = 40  # digits of a number; Python refuses to read some thousand

_SPEC = re.compile(r"(?P<layer>.+):(?P<call>\s*[A-Za-z_]\w*\s*(\(.*\))?)", re.DOTALL)
_CALL = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*(\((?P<settings>.*)\)\s*)?", re.DOTALL)
_OFF = re.compile(r"\s*off\s*\(\s*(?P<stage>\w+)\s*\)\s*")
_SETTING = re.compile(r"""\s*(?P<key>[A-Za-z_]\w*)\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^,"'()]+?)\s*(,|$)""")
_NUMBER = re.compile(r"[+-]?(\d+(?P<rest>\.\d*)?|(?P<point>\.\d+))(?P<power>[eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse(text: str) -> tuple[str, Step]:
    """Layer (a name, a file's own name or a glob) and the step; split at the last ':' before the technique.

    `fc:off(GRID)` switches a stage off, `fc:float` is the same as `fc:off(GRID)`. Raises PlanError
    that quotes the text.
    """
    found = _SPEC.fullmatch(text.strip())
    if not found or not found["layer"].strip():
        raise PlanError(f"'{text}' is no step on a layer.", where="--set", remedy=FORM)
    layer, call = found["layer"].strip(), found["call"]
    try:
        return layer, _step(call)
    except PlanError as error:
        raise PlanError(error.what, where=f"--set '{text}'", remedy=error.remedy) from None


def parse_call(text: str, form: str = CALL) -> tuple[str, dict[str, Any]]:
    """Name and settings: `edge_density(stride=4)` -> ("edge_density", {"stride": 4}).

    A value is a number, true, false, none, or else a text, in quotes where it holds a comma or bracket.
    """
    found = _CALL.fullmatch(text)
    if not found:
        raise PlanError(f"'{text.strip()}' cannot be read.", remedy=form)
    return found["name"], _settings(found["settings"] or "", text.strip(), form)


def write(layer: str, step: Step) -> str:
    """Text that `parse` reads back."""
    if step.technique is None:
        return f"{layer}:off({step.stage.name})"
    settings = ",".join(f"{key}={_text(value)}" for key, value in step.settings.items())
    return f"{layer}:{step.technique}" + (f"({settings})" if settings else "")


def _step(call: str) -> Step:
    off = _OFF.fullmatch(call)
    if off:
        return Step.off(off["stage"].upper())
    name, settings = parse_call(call, FORM)
    if name == "off":
        remedy = f"Name the stage, as in 'fc:off(GRID)'; stages: {', '.join(Stage.__members__)}."
        raise PlanError(f"'{call.strip()}' does not say what to switch off.", remedy=remedy)
    if name == "float" and not settings:
        return Step.off(Stage.GRID.name)
    return Step(name, **settings)


def _settings(text: str, call: str, form: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    place = 0
    while text[place:].strip():
        found = _SETTING.match(text, place)
        if not found:
            raise PlanError(f"'{text[place:].strip()}' in '{call}' is no key=value.", remedy=form)
        if found["key"] in settings:
            raise PlanError(f"setting '{found['key']}' stands twice in '{call}'.", remedy="Give it once.")
        settings[found["key"]] = _value(found["value"])
        place = found.end()
    return settings


def _value(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    number = _NUMBER.fullmatch(text)
    if not number or len(text) > LONGEST:
        return text
    whole = number["rest"] is None and number["point"] is None and number["power"] is None
    return int(text) if whole else float(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[\w.:/-]+", value) and _value(value) == value
    return value if plain else f"'{value}'" if '"' in value else f'"{value}"'
