"""What was open and its plan, kept on disk so that a kill loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.core import paths, states
from studio.core.errors import FileError, StudioError
from studio.core.opened import Opened
from studio.core.plan import Plan

__all__ = [
    "Opened", "Recovered", "close", "dismiss", "last_plan", "load_sensitivity", "named_states", "recoverable", "save",
]  # fmt: skip


@dataclass(frozen=True)
class Recovered:
    """An autosave that was not closed in order."""

    opened: Opened
    plan: Plan
    saved: float  # seconds since 1970
    file: Path


def save(opened: Opened, plan: Plan, *, sensitivity: dict[str, Any] | None = None) -> None:
    """Write the autosave of this process for what is open; atomic."""
    value = {
        "process": os.getpid(),
        "saved": time.time(),
        "opened": asdict(opened),
        "plan": plan.to_json(),
        "state": plan.state,
        "sensitivity": sensitivity,
    }
    paths.write_text(_file(opened), json.dumps(value))


def load_sensitivity(opened: Opened) -> dict[str, Any] | None:
    """Sensitivity table measured earlier for the same model and data, or None."""
    with suppress(OSError, ValueError, KeyError, FileError):
        found: dict[str, Any] | None = json.loads(_file(opened).read_text())["sensitivity"]
        return found
    return None


def close(opened: Opened) -> None:
    """Mark what is open as closed in order: there is nothing to recover."""
    with suppress(OSError, ValueError, FileError):
        value = json.loads(_file(opened).read_text())
        paths.write_text(_file(opened), json.dumps({**value, "process": None}))


def recoverable() -> list[Recovered]:
    """Autosaves of processes that ended without closing, the newest first."""
    found: list[Recovered] = []
    try:
        files = list(_folder().glob("*.json"))
    except FileError:
        return found
    for file in files:
        with suppress(OSError, ValueError, KeyError, TypeError):
            value = json.loads(file.read_text())
            if value["process"] is not None and not _alive(value["process"]):
                found.append(Recovered(Opened(**value["opened"]), _plan(value), value["saved"], file))
    return sorted(found, key=lambda r: -r.saved)


def last_plan(opened: Opened) -> Plan | None:
    """Plan that a model had when it was open last, with its training result where that is kept; None without one."""
    with suppress(OSError, ValueError, KeyError, TypeError, StudioError):
        return _plan(json.loads(_file(opened).read_text()))
    return None


def _plan(value: dict[str, Any]) -> Plan:
    plan, state = Plan.from_json(value["plan"]), value.get("state")
    return replace(plan, state=state) if state is not None and states.known(state) else plan


def named_states() -> list[str]:
    """Ids of all training results that autosaves name."""
    found = []
    for file in _folder().glob("*.json"):
        with suppress(OSError, ValueError, AttributeError):
            found.append(json.loads(file.read_text()).get("state"))
    return [state for state in found if state is not None]


def dismiss(recovered: Recovered) -> None:
    """Forget one autosave."""
    recovered.file.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _folder() -> Path:
    return paths.user_folder("autosave")


def _file(opened: Opened) -> Path:
    name = hashlib.sha256(f"{opened.model}\n{opened.data}".encode()).hexdigest()[:16]
    return _folder() / f"{name}.json"
