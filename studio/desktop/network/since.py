"""What the hand has changed on a layer since the last measurement, in words and numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from studio.core.plan import Plan, Step
from studio.core.settings import Declared, declared, strength_of
from studio.core.technique import Stage, Technique
from studio.desktop.network.setting_text import written

if TYPE_CHECKING:
    from studio.core.result import Result
    from studio.session import Session


@dataclass(frozen=True)
class Since:
    """`text`: "8 → 4 bit". Differences of the whole model to the last measurement, None while not known."""

    text: str
    bytes: int | None = None
    points: float | None = None  # a fraction
    state: Literal["counted", "estimate", "updating"] = "counted"  # how well `points` are known; bytes are counted
    samples: int = 0  # behind `points` while it is updating


def since(
    session: Session, measured: Plan, estimate: Result | None, layers: Sequence[str], current: str, found: Technique
) -> tuple[Step | None, Since | None]:
    """Return the step of `found`'s stage on the current layer that was measured last, and what changed since.

    `layers`: those that the hand changes together; numbers are there only where nothing else has changed.
    """
    before, now = (
        next((s for s in session.engine.resolve(plan).steps.get(current, ()) if s.stage == found.stage), None)
        for plan in (measured, session.plan)
    )
    text = step_change(before, now)
    if not text or found.name not in {step.technique for step in (before, now) if step is not None}:
        return before, None
    if not only_changed(session, measured, layers, found.stage):
        return before, Since(text)
    return before, replace(differences(session, measured, estimate), text=text)


def step_change(before: Step | None, now: Step | None) -> str:
    """`8 → 4 bit`; other settings with their titles; `off → 4 bit` for a step that was not there. Empty if equal."""
    one = now or before
    if one is None or before == now:
        return ""
    main = strength_of(one.found.settings)
    if before is None or now is None or before.technique != now.technique:
        return f"{_state(before, main)} → {_state(now, main)}"
    changes = []
    for setting in declared(one.found.settings):
        old, new = (getattr(step.values, setting.name) for step in (before, now))
        if old != new:
            title = "" if main is not None and setting.name == main.name else f"{setting.title} "
            changes.append(title + _arrow(written(setting, old), written(setting, new)))
    return ", ".join(changes)


def _arrow(old: str, new: str) -> str:
    """Both values, a unit that they share once."""
    number, _, unit = old.partition(" ")
    return f"{number if unit and new.endswith(f' {unit}') else old} → {new}"


def _state(step: Step | None, main: Declared | None) -> str:
    if step is None:
        return "off"
    own = strength_of(step.found.settings)
    if own is None or main is None:
        return step.found.title.lower()
    text = written(own, getattr(step.values, own.name))
    return text if own == main else f"{step.found.title.lower()} {text}"


def differences(session: Session, measured: Plan, estimate: Result | None) -> Since:
    """Bytes and points of the session's plan against the plan that was measured last; never computes."""
    plan, before = session.plan, session.measured.get(measured.key)
    old, new = session.engine.known_cost(measured), session.engine.known_cost(plan)
    size = None if old is None or new is None else new.flash_bytes - old.flash_bytes
    found = Since("", size)
    known = before.result.delta if before is not None else None
    if known is None:
        return found
    running = session.result
    if running is not None and running.plan_key == plan.key and running.delta is not None:
        return replace(found, points=running.delta - known, state="updating", samples=running.samples)
    if estimate is not None and estimate.plan_key == plan.key and estimate.delta is not None:
        return replace(found, points=estimate.delta - known, state="estimate")
    return found


def only_changed(session: Session, measured: Plan, layers: Collection[str], stage: Stage) -> bool:
    """True where nothing but steps of one stage on these layers differs from the plan that was measured last."""
    plan = session.plan
    rest = [replace(p, defaults=(), layers=_of_factors(p, session), groups={}, model=None) for p in (plan, measured)]
    before, now = (session.engine.resolve(p).steps for p in (measured, plan))
    changed = {
        (name, step.stage)
        for name in now
        for step in {*now[name], *before[name]}
        if step not in now[name] or step not in before[name]
    }
    together = {one for name in layers for one in (name, *session.graph.layer(name).companions)}
    return rest[0] == rest[1] and all(s == stage and name in together for name, s in changed)


def _of_factors(plan: Plan, session: Session) -> dict[str, tuple[Step, ...]]:
    return {name: steps for name, steps in plan.layers.items() if name not in session.graph}
