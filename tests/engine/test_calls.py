"""What callers of the engine rely on: any thread, nothing computed where none was asked for, no plan without a way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core.errors import DataError
from studio.core.plan import Plan, Step
from studio.engine import engine as module
from studio.engine.engine import Engine
from studio.session import Session, demo, open_session


@pytest.fixture
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


@pytest.fixture
def blind(shared: Path) -> Iterator[Session]:
    """Open a network without any data."""
    session = open_session(shared / "data" / "models" / "mnist_cnn_cntk.onnx")
    session.cancel()
    yield session
    session.close()


def test_many_threads_get_what_one_gets(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Step("prune_channels", amount=0.3, criterion="l1", reestimate=False)
    low = Step("low_rank", data_aware=False)
    steps = [(Step("quantize", weight_bits=bits),) for bits in (2, 4, 8)] + [(cut,), (low,), (Step("huffman"),)]
    plans = [Plan(defaults=own) for own in steps]
    wanted = [_answers(session.engine, plan) for plan in plans]
    monkeypatch.setattr(module, "KEPT_PROGRAMS", 1)  # every thread throws out what another has just made
    shared = Engine(session.network, session.graph, session.engine.sources)
    order = [random.Random(seed).randrange(len(plans)) for seed in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: _answers(shared, plans[i]), order))
    assert found == [wanted[i] for i in order]


def _answers(engine: Engine, plan: Plan) -> tuple[object, ...]:
    encodings = {name: encoding.pack() for name, encoding in engine.encodings(plan).items()}
    return engine.cost(plan), encodings, [op.key for op in engine.program(plan).operations]


def test_a_known_cost_is_the_newest_and_none_is_computed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, engine = Plan(defaults=(Step("low_rank", data_aware=False),)), session.engine
    monkeypatch.setattr(engine, "variant", lambda *_: pytest.fail("a known cost needs no network"))
    assert engine.known_cost(plan) is None
    monkeypatch.undo()
    assert engine.cost(plan) is engine.known_cost(plan)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "criterion reconstruction needs some samples.*another criterion"),
        ({"criterion": "taylor"}, "criterion taylor needs some samples.*another criterion"),
        ({"criterion": "l1"}, "fitting .* needs some samples.*'Fit again' .reestimate. off"),
    ],
)
def test_without_data_a_cut_that_needs_samples_leaves_the_plan(
    blind: Session, settings: dict[str, str], words: str
) -> None:
    layer = blind.graph.weighted[0].name
    before = blind.plan
    with pytest.raises(DataError, match=f"{layer}: prune_channels: .*{words}"):
        blind.set_step(layer, Step("prune_channels", **settings))
    assert blind.plan is before
    assert blind.graph.name in repr(blind)
    blind.set_step(layer, Step("prune_channels", criterion="l1", reestimate=False))
    assert blind.engine.cost(blind.plan).macs < blind.graph.macs


def test_without_data_low_rank_and_learned_rounding_have_their_plain_form(blind: Session) -> None:
    engine = blind.engine
    aware, plain = (Plan(defaults=(Step("low_rank", data_aware=flag),)) for flag in (True, False))
    assert {n: e.pack() for n, e in engine.encodings(aware).items()} == {
        n: e.pack() for n, e in engine.encodings(plain).items()
    }
    learned = Plan(defaults=(Step("quantize", weight_bits=3, rounding="learned"),))
    nearest = Plan(defaults=(Step("quantize", weight_bits=3),))
    assert {e.pack() for e in engine.encodings(learned).values()} == {
        e.pack() for e in engine.encodings(nearest).values()
    }
    assert engine.pending(learned) == tuple(layer.name for layer in blind.graph.weighted)
    with pytest.raises(DataError, match=r"there is no data to calibrate with.*--calibration"):
        engine.prepare(learned)
