"""Cuts and factors in a quick form first: labelled, replaced by the full form, which is the same as without it."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Event
from typing import Any

import pytest

from studio.core.plan import Plan, Step
from studio.core.result import Result
from studio.engine.engine import Engine
from studio.engine.furthest_cut import furthest_cut
from studio.engine.sensitivity import measure_layers
from studio.network.content import weights_key
from studio.session import Session, demo
from studio.techniques import _channel_cut

CUT = Plan(defaults=(Step("prune_channels", amount=0.4),))
INT8 = Plan(defaults=(Step("prune_channels", amount=0.4), Step("quantize")))
LABEL = "quick fit"


@pytest.fixture
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.wait()
    session.engine.quick_first = True
    yield session
    session.close()


def test_the_full_form_does_not_depend_on_quick_ones_before(session: Session) -> None:
    engine = session.engine
    for amount in (0.2, 0.6, 0.4):
        plan = Plan(defaults=(Step("prune_channels", amount=amount),))
        assert engine.measure(plan, 1).quick == LABEL
        if amount == 0.6:
            engine.prepare(plan)
            assert engine.measure(plan, 1).quick == ""
    other = Engine(engine.network, engine.graph, engine.sources)
    assert not other.variant(INT8).quick  # only where it is asked for
    full = engine.variant(INT8, full=True)
    assert weights_key(full.network) == weights_key(other.variant(INT8).network)
    assert engine.variant(CUT) is full
    assert engine.measure(INT8) == other.measure(INT8)


def test_sizes_and_channels_are_those_of_the_form_that_is_there(session: Session) -> None:
    engine = session.engine
    engine.variant(Plan(defaults=(Step("prune_channels", amount=0.1),)), full=True)
    quick, kept = engine.cost(CUT), engine.kept(CUT)
    assert engine.measure(CUT, 1).quick
    engine.prepare(CUT)
    # Moments are in memory since the first cut: the quick form chooses the very channels.
    assert engine.cost(CUT) == quick
    assert {name: flags.tolist() for name, flags in engine.kept(CUT).items()} == {
        name: flags.tolist() for name, flags in kept.items()
    }
    assert engine.variant(CUT).graph.macs == quick.macs


def test_the_lane_shows_the_quick_form_first_and_ends_on_the_full_one(session: Session) -> None:
    heard: list[Result] = []
    session.result_changed.connect(heard.append)
    session.set_plan(INT8, "cut")
    session.wait()
    kinds = [one.quick for one in heard if one.plan_key == session.plan.key]
    assert kinds[0] == LABEL
    assert kinds.count(LABEL) == 1  # the small subset only: the rest of the time goes into the fit
    assert kinds[-1] == ""
    assert session.measured[session.plan.key].result.quick == ""
    assert not session.engine.variant(session.plan).quick


def test_a_moving_slider_waits_for_no_fit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    released, reestimate = Event(), _channel_cut.reestimate

    def endless(*arguments: Any, tick: Any, **named: Any) -> Any:
        while not released.wait(0.01):
            tick("Fitting", 0, 1)
        return reestimate(*arguments, tick=tick, **named)

    monkeypatch.setattr(_channel_cut, "reestimate", endless)
    answers: Queue[Result] = Queue()
    session.result_changed.connect(answers.put)
    for amount in (0.2, 0.3, 0.4):
        session.set_plan(Plan(defaults=(Step("prune_channels", amount=amount),)), "cut", gesture="drag")
        answer = answers.get(timeout=30)
        assert (answer.plan_key, answer.quick) == (session.plan.key, LABEL)
    released.set()
    session.wait()
    assert session.measured[session.plan.key].result.quick == ""


def test_factors_of_the_weights_alone_stand_for_data_aware_ones(session: Session) -> None:
    engine, name = session.engine, "layer3.0.conv2"
    aware, plain = (Plan().with_step(name, Step("low_rank", data_aware=on)) for on in (True, False))
    quick = engine.variant(aware)
    assert quick.quick
    assert weights_key(quick.network) == weights_key(engine.variant(plan=plain).network)
    assert not engine.variant(plain).quick
    full = engine.variant(aware, full=True)
    other = Engine(engine.network, engine.graph, engine.sources)
    assert weights_key(full.network) == weights_key(other.variant(aware).network) != weights_key(quick.network)
    # The moments are in memory now: another strength needs no quick form.
    assert not engine.variant(Plan().with_step(name, Step("low_rank", keep=0.3))).quick


def test_what_is_decided_by_measuring_is_measured_in_full(session: Session) -> None:
    found = furthest_cut(session.engine, Plan(), None, 0.2, 1)
    assert found.amount > 0
    assert found.result.quick == ""
    *_, table = measure_layers(session.engine, cases=("channels 30 %",), layers=("conv1",), chunks=1)
    (row,) = table.rows
    session.engine.quick_first = False
    plan = Plan(groups={"conv1": (Step("prune_channels", amount=0.3, scope="layer"),)})
    assert row.value == session.engine.measure(plan, 1).value
