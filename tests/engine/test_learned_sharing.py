"""Learned shared values of plans: the quick form first, kept by content, nearer to float and within the tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.core.encoding import innermost
from studio.core.plan import Plan, Step
from studio.engine import learn, tuning
from studio.engine.engine import FLOAT, Engine
from studio.session import Session, demo

SHARED = Step("share_weights", limit="error", error=0.3, rounding="learned")
PLAN = Plan(defaults=(Step("prune_weights", amount=0.3), SHARED, Step("huffman")))
NEAREST = PLAN.with_default(SHARED.with_settings(rounding="nearest"))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(tuning, "SAMPLES", 60)
    monkeypatch.setattr(learn, "ROWS", 4000)
    made = demo.open_demo()
    made.cancel()
    yield made
    made.close()


def error(engine: Engine, plan: Plan) -> float:
    """Mean squared difference of the network's output from the float one."""
    return float(np.square(engine.outputs(plan, 2)[0] - engine.outputs(FLOAT, 2)[0]).mean())


def test_the_quick_form_stands_until_it_is_learned_and_learned_is_nearer_to_float(session: Session) -> None:
    engine = session.engine
    assert engine.pending(PLAN) == tuple(layer.name for layer in engine.graph.weighted)
    assert engine.measure(PLAN, 1).quick
    quick, plain = engine.encodings(PLAN), engine.encodings(NEAREST)
    assert all(quick[name].pack() == plain[name].pack() for name in quick)
    before = error(engine, PLAN)  # the biases are corrected by means already
    engine.prepare(PLAN)
    assert engine.pending(PLAN) == ()
    assert not engine.measure(PLAN, 1).quick
    assert error(engine, PLAN) < 0.8 * before
    for name, encoding in engine.encodings(PLAN).items():
        assert not encoding.decode()[quick[name].decode() == 0].any()
        assert set(np.unique(encoding.decode())) <= set(innermost(quick[name]).table.reshape(-1))  # type: ignore[attr-defined]


def test_another_engine_finds_what_was_learned_but_not_in_a_damaged_file(session: Session, home: Path) -> None:
    session.engine.prepare(PLAN)
    other = Engine(session.engine.network, session.engine.graph, session.engine.sources)
    assert other.pending(PLAN) == ()
    for name, encoding in session.engine.encodings(PLAN).items():
        assert other.encodings(PLAN)[name].pack() == encoding.pack()
    assert np.array_equal(session.engine.outputs(PLAN, 1)[0], other.outputs(PLAN, 1)[0])
    for file in (home / "learned").glob("*.bin"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    again = Engine(session.engine.network, session.engine.graph, session.engine.sources)
    assert again.pending(PLAN) == tuple(layer.name for layer in again.graph.weighted)
    again.prepare(PLAN)
    for name, encoding in session.engine.encodings(PLAN).items():
        assert again.encodings(PLAN)[name].pack() == encoding.pack()
