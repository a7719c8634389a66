"""Measurements that a session makes while nothing else runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from studio.core.errors import Cancelled
from studio.engine.sensitivity import measure_layers

if TYPE_CHECKING:
    from studio.session.session import Session


def measure_blame(session: Session, cases: Sequence[str]) -> None:
    """Measure each layer's share; goes on where it was. Answers by `blame_changed`."""

    def task(stop: Callable[[], bool]) -> None:
        measured = measure_layers(
            session.engine, session.blame, cases=tuple(cases), stop=stop, progress=session.progress
        )
        for table in measured:
            session.blame = table
            session.blame_changed.emit()
        session.save()

    if session.engine.evaluator is not None:
        session.lane.background("blame", task)


def request_effects(session: Session, layer: str) -> None:
    """Measure what each step of a layer changes under the current plan; answers by `effect_changed`."""
    plan = session.plan

    def task(stop: Callable[[], bool]) -> None:
        for step in session.layer(layer).steps:
            if session.plan != plan:
                return
            if stop():
                raise Cancelled
            session.effect_changed.emit(layer, step.stage, session.effect(layer, step.stage))

    session.lane.background("effects", task)
