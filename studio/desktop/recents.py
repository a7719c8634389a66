"""Models that were open lately, kept in the user's folder."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core import paths
from studio.session.autosave import Opened

if TYPE_CHECKING:
    from studio.session import Session

KEPT = 14
CHIPS = 3
"""Most frequent steps that a line shows."""


@dataclass(frozen=True)
class Recent:
    """One line of the start page; figures are those of the last measurement there."""

    opened: Opened
    when: float
    flash_bytes: int | None = None
    float_bytes: int | None = None
    value: float | None = None
    points: tuple[tuple[int, float], ...] = ()  # bytes and metric of measured plans: the small curve
    chips: tuple[tuple[str, str], ...] = ()  # technique and its short text

    @property
    def name(self) -> str:
        """File name without its ending."""
        return Path(self.opened.model).stem


def of(session: Session) -> Recent:
    """What the start page will say of a session; computes nothing."""
    known, before = session.measured.get(session.plan.key), session.float_cost_known
    dots = {
        (m.result.cost.flash_bytes, m.result.value) for m in session.measured.values() if m.result.value is not None
    }
    if before is not None and session.float_result is not None and session.float_result.value is not None:
        dots.add((before.flash_bytes, session.float_result.value))
    steps = [step for layer in session.graph.weighted for step in session.plan.steps(layer.name)]
    chips = Counter((step.technique or "", step.found.chip(step.values)) for step in steps)
    return Recent(
        session.opened,
        time.time(),
        known.result.cost.flash_bytes if known else None,
        before.flash_bytes if before else None,
        known.result.value if known else None,
        tuple(sorted((size, float(value)) for size, value in dots if value is not None)),
        tuple(chip for chip, _ in chips.most_common(CHIPS)),
    )


def load() -> list[Recent]:
    """Recent models whose files are still there, the newest first."""
    found = []
    with suppress(OSError, ValueError, TypeError, KeyError):
        for entry in json.loads(_file().read_text()):
            recent = _from_json(entry)
            if Path(recent.opened.model).exists():
                found.append(recent)
    return found


def _from_json(entry: dict[str, Any]) -> Recent:
    lists = {name: tuple(tuple(row) for row in entry.get(name, ())) for name in ("points", "chips")}
    return Recent(**{**entry, **lists, "opened": Opened(**entry["opened"])})


def remember(recent: Recent) -> None:
    """Put a model first."""
    same = (recent.opened.model, recent.opened.data)
    others = [r for r in load() if (r.opened.model, r.opened.data) != same]
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
