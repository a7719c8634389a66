"""The registries as text or JSON: `[{name, title, stage, settings, help}]`."""

from __future__ import annotations

import argparse
from typing import Any

from studio.cli._common import json_argument, print_json, table
from studio.core import registry


def arguments(parser: argparse.ArgumentParser) -> None:
    """`--json` only."""
    json_argument(parser)


def rows(kind: str) -> list[dict[str, Any]]:
    """One row for each registered object."""
    found = []
    for name in registry.names(kind):
        item = registry.find(kind, name)
        settings = getattr(item, "settings", None)
        stage = getattr(item, "stage", None)
        found.append({
            "name": item.name,
            "title": item.title,
            "stage": stage.name if stage is not None else None,
            "settings": settings.model_json_schema() if settings is not None else None,
            "help": item.help,
        })  # fmt: skip
    return found


def show(kind: str, args: argparse.Namespace) -> int:
    """Print one registry."""
    return print_rows(rows(kind), args)


def print_rows(found: list[dict[str, Any]], args: argparse.Namespace) -> int:
    """JSON list, or a table with one line for each setting below its owner."""
    if args.json:
        print_json(found)
        return 0
    lines = []
    for row in found:
        lines.append((row["name"], row["stage"] or "", row["help"]))
        for name, schema in ((row["settings"] or {}).get("properties") or {}).items():
            lines.append((f"  {name}", _range(schema), schema.get("description", "")))
    table("", ("name", "stage / values", "help"), lines)
    return 0


def _range(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        values = " | ".join(map(str, schema["enum"]))
    elif "minimum" in schema and "maximum" in schema:
        values = f"{schema['minimum']:g} .. {schema['maximum']:g}"
    else:
        values = str(schema.get("type", ""))
    return f"{values} (default {schema.get('default')})"
