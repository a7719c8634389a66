"""What every technique keeps, on every kind of layer and with all of its settings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from studio.core import registry
from studio.core.encoding import Dense, Encoding, Sparse, unpack
from studio.core.errors import PlanError
from studio.core.graph import Layer
from studio.core.plan import Plan, Step
from studio.core.settings import Declared, declared, strength_of
from studio.core.technique import EncodeContext, Stage

NAMES = registry.names("techniques")
ENCODING = [n for n in NAMES if registry.find("techniques", n).stage in (Stage.SPARSE, Stage.GRID, Stage.CODE)]
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

KINDS = {
    "conv 2d": ("conv", (8, 4, 3, 3), 1),
    "conv 2d, 3 inputs": ("conv", (6, 3, 5, 5), 1),
    "conv 1x1": ("conv", (12, 8, 1, 1), 1),
    "conv 1d": ("conv", (6, 8, 9), 1),
    "depthwise": ("conv", (8, 1, 3, 3), 8),
    "grouped": ("conv", (8, 4, 3, 3), 2),
    "transposed": ("conv_transpose", (8, 6, 2, 2), 1),
    "transposed, grouped": ("conv_transpose", (8, 3, 2, 2), 2),
    "linear": ("linear", (10, 32), 1),
    "linear, one output": ("linear", (1, 7), 1),
}
WITHOUT_WEIGHTS = ("relu", "add", "max_pool", "concat", "input", "softmax")


def layer_of(kind: str) -> Layer:
    operator, shape, groups = KINDS[kind]
    return Layer(kind, kind, operator, kind, (), (), (1, 8, 4, 4), shape, 0, 0, 0, kind, groups)


def weight_of(kind: str, seed: int) -> np.ndarray:
    weight = np.random.default_rng(seed).standard_t(4, KINDS[kind][1]).astype(np.float32)
    if seed % 3 == 0:
        weight[0] = 0  # a dead channel
    return weight * np.float32(10.0 ** (seed % 7 - 3))


def value_of(one: Declared) -> st.SearchStrategy[Any]:
    if one.kind == "int":
        return st.integers(int(one.low or 0), int(one.high or 100))
    if one.kind == "float":
        return st.floats(one.low or 0, one.high or 1)
    return st.sampled_from(one.choices) if one.kind == "choice" else st.booleans()


def step_of(name: str) -> st.SearchStrategy[Step]:
    own = {one.name: value_of(one) for one in declared(registry.find("techniques", name).settings)}
    return st.fixed_dictionaries({}, optional=own).map(lambda values: Step(name, **values))


def encode(step: Step, encoding: Encoding, kind: str) -> Encoding:
    """Run the step on a layer, with a neighbour where layers decide together."""
    peers = {kind: encoding.decode(), "other": weight_of("linear", 1)}
    context = EncodeContext(layer_of(kind), peers if step.found.scope(step.values) == "global" else {})
    found: Encoding = step.found.encode(encoding, step.values, context)  # type: ignore[attr-defined]
    return found


CASES = {"kind": st.sampled_from(list(KINDS)), "seed": st.integers(0, 20), "data": st.data()}


@pytest.mark.parametrize("name", ENCODING)
@EXAMPLES
@given(**CASES)
def test_an_encoding_is_a_pure_function_with_exact_bytes(name: str, kind: str, seed: int, data: st.DataObject) -> None:
    step = data.draw(step_of(name))
    assume(step.found.refuses(layer_of(kind), step.values) is None)
    weight = weight_of(kind, seed)
    before = weight.copy()
    found = encode(step, Dense(weight), kind)
    assert weight.tobytes() == before.tobytes()
    assert found.shape == weight.shape
    decoded = found.decode()
    assert decoded.dtype == np.float32
    assert decoded.shape == weight.shape
    assert np.isfinite(decoded).all()
    content = found.pack()
    assert found.bits() == 8 * len(content)
    assert unpack(content).decode().tobytes() == decoded.tobytes()
    assert unpack(content).pack() == content
    assert encode(step, Dense(before), kind).pack() == content


@pytest.mark.parametrize("name", [n for n in ENCODING if strength_of(registry.find("techniques", n).settings)])
@EXAMPLES
@given(**CASES)
def test_bits_on_a_dense_layer_never_grow_along_the_strength_axis(
    name: str, kind: str, seed: int, data: st.DataObject
) -> None:
    axis = strength_of(registry.find("techniques", name).settings)
    assert axis is not None
    step = data.draw(step_of(name))
    assume(step.found.refuses(layer_of(kind), step.values) is None)
    weight = Dense(weight_of(kind, seed))
    values = data.draw(st.lists(value_of(axis), min_size=2, max_size=6))
    values.sort(reverse=axis.strength == "down")
    sizes = [encode(step.with_settings(**{axis.name: value}), weight, kind).bits() for value in values]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= weight.bits() or weight.values.size < 100  # scales may outweigh a few weights


@EXAMPLES
@given(**CASES)
def test_a_stack_of_all_stages_keeps_its_bytes(kind: str, seed: int, data: st.DataObject) -> None:
    by_stage = {stage: [n for n in ENCODING if registry.find("techniques", n).stage == stage] for stage in Stage}
    found: Encoding = Dense(weight_of(kind, seed))
    for stage in Stage:
        if by_stage[stage] and data.draw(st.booleans()):
            step = data.draw(step_of(data.draw(st.sampled_from(by_stage[stage]))))
            if step.found.refuses(layer_of(kind), step.values) is None:
                pruned = found.decode() == 0 if isinstance(found, Sparse) else np.zeros(found.shape, np.bool_)
                found = encode(step, found, kind)
                assert not found.decode()[pruned].any()  # what was pruned stays zero
    content = found.pack()
    assert found.bits() == 8 * len(content)
    assert unpack(content).decode().tobytes() == found.decode().tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_step_is_the_identity(name: str) -> None:
    stage = registry.find("techniques", name).stage
    plan = Plan().with_step("a", Step(name)).without("a", stage)
    assert plan == Plan()
    assert plan.steps("a") == ()
    assert Plan(defaults=(Step(name),), layers={"a": (Step.off(stage.name),)}).steps("a") == ()


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(data=st.data())
def test_a_step_survives_its_file_form(name: str, data: st.DataObject) -> None:
    step = data.draw(step_of(name))
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step
    plan = Plan(defaults=(step,)).with_step("a", step)
    assert Plan.from_json(json.loads(plan.text())) == plan


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(kind=st.sampled_from([*KINDS, *WITHOUT_WEIGHTS]), data=st.data())
def test_a_refusal_is_a_sentence(name: str, kind: str, data: st.DataObject) -> None:
    step = data.draw(step_of(name))
    if kind in KINDS:
        reason = step.found.refuses(layer_of(kind), step.values)
    else:
        reason = step.found.refuses(Layer("n", "n", kind, "", (), (), (1, 4), None, 0, 0, 0, None), step.values)
        assert reason is not None
    if reason is not None:
        assert reason.endswith(".")
        assert len(reason.split()) > 3


@pytest.mark.parametrize("name", NAMES)
def test_every_number_out_of_range_is_an_error_that_names_setting_and_range(name: str) -> None:
    for one in declared(registry.find("techniques", name).settings):
        if one.kind in ("int", "float"):
            assert one.low is not None
            assert one.high is not None
            for wrong in (one.low - 1, one.high + 1, "much", None, True, float("nan")):
                with pytest.raises(PlanError) as caught:
                    Step(
                        name,
                        **{
                            one.name: int(wrong)
                            if one.kind == "int" and isinstance(wrong, float) and np.isfinite(wrong)
                            else wrong
                        },
                    )
                assert one.name in str(caught.value)
                assert f"{one.low:g} to {one.high:g}" in str(caught.value)
        else:
            with pytest.raises(PlanError) as caught:
                Step(name, **{one.name: "nothing such"})
            assert one.name in str(caught.value)
            assert all(str(choice) in str(caught.value) for choice in one.choices)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_an_error_that_lists_the_known(name: str) -> None:
    with pytest.raises(PlanError, match="no_such_setting") as caught:
        Step(name, no_such_setting=1)
    assert all(one.name in str(caught.value) for one in declared(registry.find("techniques", name).settings))


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(data=st.data())
def test_what_the_screen_shows_is_there(name: str, data: st.DataObject) -> None:
    found = registry.find("techniques", name)
    step = data.draw(step_of(name))
    assert found.help.endswith(".")
    assert found.title
    assert found.letters
    assert found.chip(step.values).startswith(found.letters)
    assert len(found.chip(step.values)) <= 10
    assert found.scope(step.values) in ("layer", "global")
    names = {one.name for one in declared(found.settings)}
    inactive = found.inactive(step.values)
    assert set(inactive) <= names
    assert all(reason.endswith(".") for reason in inactive.values())
    for one in declared(found.settings):
        assert one.help.endswith(".")
        assert one.title


@pytest.mark.parametrize("name", ENCODING)
@EXAMPLES
@given(**CASES)
def test_a_setting_called_inactive_changes_nothing(name: str, kind: str, seed: int, data: st.DataObject) -> None:
    step = data.draw(step_of(name))
    assume(step.found.refuses(layer_of(kind), step.values) is None)
    before = encode(step, Dense(weight_of(kind, seed)), kind).pack()
    by_name = {one.name: one for one in declared(step.found.settings)}
    for setting in step.found.inactive(step.values):
        other = step.with_settings(**{setting: data.draw(value_of(by_name[setting]))})
        assert encode(other, Dense(weight_of(kind, seed)), kind).pack() == before
