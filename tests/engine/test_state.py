"""Training results in the engine: used while they fit the plan, said to be unused where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from studio.core.encoding import Dense, Grid, Sparse
from studio.core.errors import PlanError
from studio.core.plan import Plan, Step
from studio.core.state import State, steps_key
from studio.engine.variant import rewrites_key
from studio.session import Session, demo

PRUNE, GRID = Step("prune_weights", amount=0.5), Step("quantize", weight_bits=4)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


def trained(session: Session, encodings: dict[str, dict[str, bytes]] | None = None) -> State:
    """All weights doubled, made for a plan without rewrites."""
    dense = session.engine.base.encoder.dense
    tensors = {f"{name}.weight": 2 * dense[name].values for name in dense}
    key = rewrites_key(session.engine.resolve(Plan()))
    return State(tensors, encodings=encodings or {}, ranges={"input": (-3.0, 3.0)}, made_for={"rewrites": key})


def test_a_state_gives_its_tensors_to_plans_that_name_it(session: Session) -> None:
    engine = session.engine
    plan = replace(Plan(), state=engine.add_state(trained(session)))
    name = session.graph.weighted[0].name
    before = engine.encodings(Plan())[name].decode()
    assert np.array_equal(engine.encodings(plan)[name].decode(), 2 * before)
    assert np.array_equal(engine.encodings(Plan())[name].decode(), before)
    assert plan != Plan()
    assert engine.ranges(plan)["input"] == (-3.0, 3.0)
    assert engine.ranges(Plan())["input"] != (-3.0, 3.0)


def test_a_decided_encoding_holds_while_its_steps_do(session: Session) -> None:
    engine, name = session.engine, session.graph.weighted[1].name
    weight = engine.base.encoder.dense[name].values
    mask = np.zeros(weight.shape, np.bool_)
    mask.reshape(-1)[::3] = True
    decided = Sparse(mask, Dense(weight))
    state = trained(session, {name: {steps_key((PRUNE,)): decided.pack()}})
    plan = replace(Plan(), state=engine.add_state(state)).with_step(name, PRUNE)
    assert np.array_equal(engine.encodings(plan)[name].decode(), decided.decode())
    assert engine.unused(plan) == ()
    grid = engine.encodings(plan.with_step(name, GRID))[name]  # what follows is computed on the decided mask
    assert isinstance(grid, Sparse)
    assert isinstance(grid.values, Grid)
    assert not grid.decode()[~mask].any()
    other = plan.with_step(name, Step("prune_weights", amount=0.25))
    assert engine.unused(other) == (name,)
    assert int((engine.encodings(other)[name].decode() == 0).sum()) < weight.size // 2


def test_a_state_made_for_other_rewrites_is_not_used(session: Session) -> None:
    state = State(trained(session).tensors, made_for={"rewrites": "others"})
    plan = replace(Plan(), state=session.engine.add_state(state))
    name = session.graph.weighted[0].name
    assert np.array_equal(
        session.engine.encodings(plan)[name].decode(), session.engine.encodings(Plan())[name].decode()
    )
    assert set(session.engine.unused(plan)) == {layer.name for layer in session.graph.weighted}


def test_a_missing_state_is_an_error(session: Session) -> None:
    with pytest.raises(PlanError, match="training result"):
        session.engine.encodings(replace(Plan(), state="sha256:0"))
