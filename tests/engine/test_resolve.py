"""Which steps hold on which layer, and which plans are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import PlanError, Refused
from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.engine.resolve import canonical, check_model, with_step
from studio.session import Session, demo, open_session


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


def cut(amount: float) -> Step:
    return Step("prune_channels", amount=amount)


def test_a_step_on_any_member_is_the_step_of_its_group(session: Session) -> None:
    plan = Plan(groups={"conv1": (cut(0.5),)})
    newer = with_step(plan, session.graph, "layer1.0.conv2", cut(0.2))  # conv1 and layer1.0.conv2 are added
    assert newer == Plan(groups={"conv1": (cut(0.2),)})
    assert canonical(newer, session.graph) == newer
    off = with_step(plan, session.graph, "layer1.0.conv2", Step.off("STRUCTURE"))
    assert not session.engine.resolve(off).rewrites


@pytest.mark.parametrize(
    "plan",
    [
        Plan(groups={"conv1": (cut(0.5),), "layer1.0.conv2": (cut(0.2),)}),
        Plan(layers={"conv1": (cut(0.5),), "layer1.0.conv2": (cut(0.2),)}),
        Plan(layers={"conv1": (cut(0.5),)}, groups={"conv1": (cut(0.2),)}),
    ],
)
def test_different_steps_inside_a_group_are_an_error(session: Session, plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"conv1 .*are cut together.* Keep one of them"):
        canonical(plan, session.graph)
    before = session.plan
    with pytest.raises(PlanError, match="Keep one of them"):
        session.set_plan(plan, "two cuts")
    assert session.plan is before


def test_an_empty_list_for_a_group_is_no_cut(session: Session) -> None:
    plan = canonical(Plan(defaults=(cut(0.5),), groups={"layer1.0.conv2": ()}), session.graph)
    assert set(session.engine.resolve(plan).rewrites[Stage.STRUCTURE]) == {
        "layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "layer3.0.conv2"
    }  # fmt: skip


def test_a_layer_under_two_names_is_an_error(shared: Path) -> None:
    opened = open_session(shared / "data" / "models" / "mlperftiny_ic_resnet8.onnx")
    layer = next(one for one in opened.graph.weighted if one.source != one.name)
    with pytest.raises(PlanError, match=f"{layer.name} has two entries"):
        canonical(Plan(layers={layer.name: (Step("quantize"),), layer.source: ()}), opened.graph)
    opened.close()


def test_steps_of_factors_that_are_not_there_are_listed(session: Session) -> None:
    four = (Step("quantize", weight_bits=4),)
    low = (Step("low_rank", data_aware=False),)
    skipped = session.engine.skipped(Plan(layers={"fc": low, "fc/1": four, "fc/7": four, "conv1/1": four}))
    assert [(one.layer, one.technique, one.reason) for one in skipped] == [
        ("fc/7", "quantize", "fc has no factor of this number."),
        ("conv1/1", "quantize", "conv1 is not factored."),
    ]


def test_a_fast_convolution_of_a_factor_changes_no_weight(session: Session) -> None:
    low = Plan(layers={"conv1": (Step("low_rank", data_aware=False, form="channel"),)})
    fast = low.with_step("conv1/1", Step("fast_convolution"))
    found, plain = session.engine.encodings(fast), session.engine.encodings(low)
    assert {n: e.pack() for n, e in found.items()} == {n: e.pack() for n, e in plain.items()}
