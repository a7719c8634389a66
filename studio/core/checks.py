"""Checks on the JSON of files: objects, and no unknown keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from studio.core.errors import PlanError


def only(value: Any, known: Iterable[str], where: str) -> None:
    """Raise PlanError unless `value` is an object whose keys are all known."""
    if not isinstance(value, dict):
        raise PlanError("must be an object.", where=where, remedy=f"Possible keys: {', '.join(known)}.")
    for key in value:
        if key not in known:
            raise PlanError(f"unknown key '{key}'.", where=where, remedy=f"Possible keys: {', '.join(known)}.")


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Object that may be left out: None is an empty one; raises PlanError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PlanError(
            f"must be an object, not {json.dumps(value)[:40]}.", where=where, remedy="Write {} or leave it out."
        )
    return value
