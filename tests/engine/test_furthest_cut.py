"""The furthest cut: found to its resolution, its plan holds the amount, and it keeps what it promises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.errors import Cancelled, PlanError
from studio.core.plan import Plan, Step
from studio.engine.furthest_cut import furthest_cut
from studio.session import demo


class Falling:
    """An engine whose metric falls by the square of the amount."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def variant(self, plan: Plan, **others: Any) -> None:
        """Full forms are all there are."""

    def measure(self, plan: Plan, chunks: int | None = None, **others: Any) -> SimpleNamespace:
        self.plans.append(plan)
        steps = [s for own in [plan.defaults, *plan.groups.values()] for s in own if s.technique == "prune_channels"]
        amount = steps[0].values.amount if steps else 0.0  # type: ignore[attr-defined]
        return SimpleNamespace(value=0.9 - amount**2)


def test_the_largest_amount_within_the_drop() -> None:
    found = furthest_cut(Falling(), Plan(defaults=(Step("quantize"),)), None, 0.09)  # type: ignore[arg-type]
    assert 0.3 - 0.95 / 2**6 <= found.amount <= 0.3
    assert found.reference == 0.9
    assert found.result.value == 0.9 - found.amount**2
    assert found.plan == Plan(defaults=(Step("prune_channels", amount=found.amount), Step("quantize")))


def test_single_groups_keep_their_other_settings() -> None:
    engine = Falling()
    before = Plan(defaults=(Step("prune_channels", amount=0.9),), groups={"c": (Step("prune_channels", amount=0.1),)})
    step = Step("prune_channels", multiple=4)
    found = furthest_cut(engine, before, ["a", "b"], 0.5, step=step)  # type: ignore[arg-type]
    assert found.plan.groups["a"] == found.plan.groups["b"] == (step.with_settings(amount=found.amount),)
    assert found.plan.groups["c"] == before.groups["c"]
    assert engine.plans[0].groups["a"] == (Step.off("STRUCTURE"),)  # the drop counts from here


def test_no_cut_where_the_smallest_costs_too_much() -> None:
    found = furthest_cut(Falling(), Plan(), None, 0.0)  # type: ignore[arg-type]
    assert found.amount == 0
    assert found.plan == Plan()


def test_bad_drops_and_cancelling() -> None:
    for drop in (-0.1, 1.5, float("nan")):
        with pytest.raises(PlanError, match="maximal drop"):
            furthest_cut(Falling(), Plan(), None, drop)  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        furthest_cut(Falling(), Plan(), None, 0.1, stop=lambda: True)  # type: ignore[arg-type]


def test_on_the_demo() -> None:
    session = demo.open_demo()
    try:
        session.cancel()
        quick = Step("prune_channels", criterion="l2", reestimate=False)
        found = furthest_cut(session.engine, Plan(), None, 0.1, 2, step=quick)
        assert found.amount > 0
        assert found.result.value is not None
        assert found.result.value >= found.reference - 0.1
        assert found.result.cost.macs < session.graph.macs
        assert found.result.cost.flash_bytes < session.engine.cost(Plan()).flash_bytes
    finally:
        session.close()
