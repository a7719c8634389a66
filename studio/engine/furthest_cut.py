"""The furthest cut within a maximal drop, found by bisection on the measured metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.core.errors import Cancelled, PlanError
from studio.core.plan import Plan, Step
from studio.core.result import Result
from studio.core.settings import strength_of
from studio.core.technique import Stage

if TYPE_CHECKING:
    from studio.engine.engine import Engine, Progress

STEPS = 6
"""Measurements: an amount from 0 to 0.95 is then known to 0.015."""
DIGITS = 3


@dataclass(frozen=True)
class FurthestCut:
    """The decided amount with its plan and result; amount 0 where even the smallest cut tried costs too much."""

    plan: Plan
    amount: float
    result: Result
    reference: float  # the metric without the cut, on the same samples


def furthest_cut(
    engine: Engine,
    plan: Plan,
    groups: Sequence[str] | None,
    drop: float,
    chunks: int | None = None,
    *,
    step: Step | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> FurthestCut:
    """Largest amount of `prune_channels` with which the metric falls by at most `drop` (0.01 = one point).

    `groups`: channel groups that get the amount, all with the same; None for all of the network as a
    default. `plan`: everything else, its other steps hold in every measurement; the drop counts from
    this plan without the cut. `step`: the other settings, its amount is not looked at. Measured on the
    first `chunks` chunks (all by default). The found plan holds the amount as a plain number.

    Raises PlanError for a drop that is no share, Refused for a group that cannot be cut, DataError
    without evaluation data, Cancelled when `stop()` says so.
    """
    if not 0 <= drop <= 1:
        raise PlanError(f"a maximal drop of {drop:g} is not possible.", remedy="Choose a value from 0 to 1 (0.01).")
    step = step or Step("prune_channels")
    axis = strength_of(step.found.settings)
    assert axis is not None
    assert axis.high is not None
    before = engine.measure(_without(plan, groups), chunks, stop=stop)
    best = FurthestCut(_without(plan, groups), 0.0, before, _value(before))
    low, high = 0.0, float(axis.high)
    for i in range(STEPS):
        if stop and stop():
            raise Cancelled
        if progress:
            progress("Looking for the furthest cut", i, STEPS)
        amount = round((low + high) / 2, DIGITS)
        tried = _with(plan, groups, step.with_settings(**{axis.name: amount}))
        engine.variant(tried, stop=stop, full=True)
        result = engine.measure(tried, chunks, stop=stop)
        if _value(result) >= best.reference - drop:
            low, best = amount, FurthestCut(tried, amount, result, best.reference)
        else:
            high = amount
    return best


def _value(result: Result) -> float:
    assert result.value is not None
    return result.value


def _with(plan: Plan, groups: Sequence[str] | None, step: Step) -> Plan:
    if groups is None:
        return plan.with_default(step)
    return replace(plan, groups={**plan.groups, **dict.fromkeys(groups, (step,))})


def _without(plan: Plan, groups: Sequence[str] | None) -> Plan:
    """Plan in which these groups are not cut."""
    if groups is None:
        return replace(plan, defaults=tuple(s for s in plan.defaults if s.stage != Stage.STRUCTURE))
    off = {name: (Step.off(Stage.STRUCTURE.name),) for name in groups}
    return replace(plan, groups={**plan.groups, **off})
