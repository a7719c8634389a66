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


@pytest.mark.parametrize("where", ["fc", "defaults"])
def test_two_steps_of_one_stage_leave_the_plan_as_it_was(session: Session, where: str) -> None:
    both, before = (Step("quantize"), Step("share_weights")), session.plan
    plan = Plan(defaults=both) if where == "defaults" else Plan(layers={where: both})
    with pytest.raises(PlanError, match=rf"plan: {where}: two steps of one stage \(GRID\): .* Keep one of them"):
        session.set_plan(plan, "two grids")
    assert session.plan is before


@pytest.mark.parametrize(
    ("layer", "technique", "settings", "words"),
    [
        ("conv1", "low_rank", {"keep": 0.0}, "low_rank: setting 'keep' = 0.0 .* from 0.01 to 0.99"),
        ("conv1", "quantize", {"weight_bits": 9}, "quantize: setting 'weight_bits' = 9 .* from 1 to 8"),
        ("conv1", "prune_channels", {"amount": 1.0}, "prune_channels: setting 'amount' = 1.0 .* from 0 to 0.95"),
        ("conv1", "prune_channels", {"minimum": 12}, "conv1: prune_channels: .* 12 channels .*, and 12 must stay"),
        ("fc", "prune_channels", {}, "fc: prune_channels: The channels of fc must stay.*Remove the step"),
        ("fc", "fast_convolution", {}, "fc: fast_convolution: .*Remove the step"),
        ("fc", "equalize", {}, "fc: equalize: .*Remove the step"),
        ("fc/1", "low_rank", {}, "fc/1: a factor cannot be rewritten again. Set the step on fc"),
        ("relu1", "share_weights", {}, "relu1: a relu has no weights. Remove its steps"),
    ],
)
def test_what_a_notebook_asks_too_much_leaves_the_plan_as_it_was(
    session: Session, layer: str, technique: str, settings: dict[str, float], words: str
) -> None:
    before = session.plan
    with pytest.raises((PlanError, Refused), match=words):
        session.set_step(layer, Step(technique, **settings))
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
