"""Models that were open lately, kept in the user's folder."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.core import paths
from studio.session.autosave import Opened

KEPT = 14


@dataclass(frozen=True)
class Recent:
    """One line of the start page; figures are those of the last measurement there."""

    opened: Opened
    when: float
    flash_bytes: int | None = None
    float_bytes: int | None = None
    value: float | None = None

    @property
    def name(self) -> str:
        """File name without its ending."""
        return Path(self.opened.model).stem


def load() -> list[Recent]:
    """Recent models whose files are still there, the newest first."""
    found = []
    with suppress(OSError, ValueError, TypeError, KeyError):
        for entry in json.loads(_file().read_text()):
            recent = Recent(**{**entry, "opened": Opened(**entry["opened"])})
            if Path(recent.opened.model).exists():
                found.append(recent)
    return found


def remember(recent: Recent) -> None:
    """Put a model first."""
    others = [r for r in load() if (r.opened.model, r.opened.data) != (recent.opened.model, recent.opened.data)]
    rows: list[dict[str, Any]] = [asdict(r) for r in [recent, *others][:KEPT]]
    paths.write_text(_file(), json.dumps(rows))


def when_text(seconds: float) -> str:
    """Return "today, 14:10", "yesterday" or a date."""
    then, now = time.localtime(seconds), time.localtime()
    if then[:3] == now[:3]:
        return time.strftime("today, %H:%M", then)
    if time.localtime(time.time() - 86400)[:3] == then[:3]:
        return "yesterday"
    return time.strftime("%d %B", then).lstrip("0")


def _file() -> Path:
    return paths.user_folder() / "recent.json"
