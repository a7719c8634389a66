"""The folder is the registry: `find("techniques", "quantize")` imports `studio.techniques.quantize`.

Each module of these folders defines one object under the name in `OBJECTS`. Listing reads file
names only and imports nothing. Export formats are written with a dash: `onnx-float` is `onnx_float.py`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from studio.core.errors import PlanError

OBJECTS = {
    "techniques": "TECHNIQUE",
    "criteria": "CRITERION",
    "attention": "SELECTOR",
    "formats": "READER",
    "export.targets": "TARGET",
    "jobs": "JOB",
}
TITLES = {
    "techniques": "technique",
    "criteria": "criterion",
    "attention": "selector",
    "formats": "model format",
    "export.targets": "export format",
    "jobs": "job",
}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Names of everything registered under `kind`, sorted; modules with a leading underscore are helpers."""
    folder = Path(__file__).resolve().parents[1].joinpath(*kind.split("."))
    modules = pkgutil.iter_modules([str(folder)])
    dash = "-" if kind == "export.targets" else "_"
    return tuple(sorted(m.name.replace("_", dash) for m in modules if not m.name.startswith("_")))


def find(kind: str, name: str) -> Any:
    """Return the one object that `studio.<kind>.<name>` registers; raises PlanError for an unknown name."""
    if name not in names(kind):
        near = difflib.get_close_matches(name, names(kind), 1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise PlanError(f"unknown {TITLES[kind]} '{name}'.", remedy=f"{hint}Known: {', '.join(names(kind))}.")
    return getattr(importlib.import_module(f"studio.{kind}.{name.replace('-', '_')}"), OBJECTS[kind])
