"""Which steps hold on which layer, and which plans are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from studio.core.errors import PlanError, Refused
from studio.core.plan import Plan, Step
from studio.engine.resolve import canonical, check_model
from studio.session import Session, demo


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


def keys(session: Session, plan: Plan) -> dict[str, tuple[str, ...]]:
    return {n: w.keys for n, w in session.engine.work(plan).items()}


def test_an_edit_changes_only_its_layer(session: Session) -> None:
    name = session.graph.weighted[1].name
    plan = Plan(defaults=(Step("quantize"),))
    before, after = keys(session, plan), keys(session, plan.with_step(name, Step("quantize", weight_bits=4)))
    assert {n for n in before if before[n] != after[n]} == {name}


def test_global_pruning_depends_on_all_its_layers(session: Session) -> None:
    step = Step("prune_weights", amount=0.5, scope="global")
    a, b, c = (layer.name for layer in session.graph.weighted[:3])
    two = keys(session, Plan(layers={a: (step,), b: (step,)}))
    three = keys(session, Plan(layers={a: (step,), b: (step,), c: (step,)}))
    assert two[a] != three[a]


def test_unknown_layer_names_the_nearest(session: Session) -> None:
    name = session.graph.weighted[0].name
    with pytest.raises(PlanError, match=name):
        session.engine.resolve(Plan(layers={name + "x": (Step("quantize"),)}))


def test_group_steps_are_refused_for_layer_techniques(session: Session) -> None:
    with pytest.raises(Refused, match="channel groups"):
        session.engine.resolve(Plan(groups={session.graph.weighted[0].name: (Step("quantize"),)}))


def test_files_own_name_is_accepted(session: Session) -> None:
    layer = session.graph.weighted[0]
    assert canonical(Plan(layers={layer.source: (Step("quantize"),)}), session.graph).layers.keys() == {layer.name}


def test_plan_of_another_network_names_the_first_difference(session: Session) -> None:
    plan = Plan(model={"name": "other.onnx", "fingerprint": "sha256:0", "layers": ["input (input 1x1x8x8)"]})
    with pytest.raises(PlanError, match=r"other\.onnx.*input \(input 1x1x8x8\)"):
        check_model(plan, session.graph, "sha256:1")


def test_other_weights_are_a_warning(session: Session) -> None:
    plan = Plan(model={"name": "x", "fingerprint": session.graph.fingerprint, "weights": "sha256:0"})
    assert "other weights" in str(check_model(plan, session.graph, "sha256:1"))
