"""Plans and steps as values and as files."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import FileError, PlanError
from studio.core.plan import Activations, Calibration, Plan, Step
from studio.core.technique import Stage

Q8, Q4, P5 = Step("quantize"), Step("quantize", weight_bits=4), Step("prune_weights", amount=0.5)
NAMES = st.text("abc.1", min_size=1, max_size=5)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    made = []
    if draw(st.booleans()):
        own = {
            "amount": st.floats(0, 0.99),
            "scope": st.sampled_from(["layer", "global"]),
            "pattern": st.sampled_from(["free", "2:4", "1x4"]),
        }
        made.append(Step("prune_weights", **draw(st.fixed_dictionaries({}, optional=own))))
    if draw(st.booleans()):
        own = {"weight_bits": st.integers(2, 8), "per_channel": st.booleans()}
        made.append(Step("quantize", **draw(st.fixed_dictionaries({}, optional=own))))
    elif draw(st.booleans()):
        made.append(Step.off("GRID"))
    return tuple(made)


PLANS = st.builds(
    Plan,
    defaults=steps(),
    layers=st.dictionaries(NAMES, steps(), max_size=3),
    groups=st.dictionaries(NAMES, steps(), max_size=1),
    activations=st.builds(
        Activations,
        st.sampled_from([None, 8, 32]),
        st.sampled_from(["mse", "min_max", "percentile"]),
        st.dictionaries(NAMES, st.sampled_from([8, 32]), max_size=2),
    ),
    calibration=st.builds(
        Calibration, st.sampled_from(["train", "evaluation"]), st.integers(1, 999), st.integers(0, 9)
    ),
    preprocess=st.dictionaries(NAMES, st.integers(), max_size=2),
    export=st.sampled_from([{}, {"onnx_weights": "uint8"}]),
    model=st.sampled_from([None, {"name": "x"}]),
)


@settings(deadline=None)
@given(PLANS)
def test_a_plan_survives_its_file_form(plan: Plan) -> None:
    again = Plan.from_json(json.loads(plan.text()))
    assert again == plan
    assert again.key == plan.key
    assert hash(again) == hash(plan)
    assert again.to_json() == plan.to_json()


@settings(deadline=None)
@given(PLANS, steps(), NAMES)
def test_a_step_replaces_its_stage_only(plan: Plan, own: tuple[Step, ...], layer: str) -> None:
    before = plan.key
    for step in own:
        after = plan.with_step(layer, step)
        found = {s.stage: s for s in after.steps(layer)}
        assert found.get(step.stage) == (step if step.technique else None)
        others = [s for s in plan.steps(layer) if s.stage != step.stage]
        assert [s for s in after.steps(layer) if s.stage != step.stage] == others
        for other in plan.layers.keys() - {layer}:
            assert after.steps(other) == plan.steps(other)
    assert plan.key == before


def test_steps_come_from_defaults_replaced_stage_by_stage() -> None:
    plan = Plan(defaults=(P5, Q8), layers={"a": (Q4,), "b": (Step.off("GRID"),), "c": ()})
    assert plan.steps("a") == (P5, Q4)
    assert plan.steps("b") == (P5,)
    assert plan.steps("c") == ()
    assert plan.steps("d") == (P5, Q8)


def test_a_step_on_a_layer_without_any_leaves_the_other_stages_off() -> None:
    plan = Plan(defaults=(P5, Q8), layers={"fc": ()}).with_step("fc", Q4)
    assert plan.steps("fc") == (Q4,)
    assert plan.without("fc", Stage.SPARSE).steps("fc") == (P5, Q4)


def test_a_removed_step_brings_the_default_back() -> None:
    plan = Plan(defaults=(Q8,), layers={"a": (Q4,)})
    assert plan.without("a", Stage.GRID).steps("a") == (Q8,)
    assert plan.without("a", Stage.GRID).layers == {}
    assert plan.without("a", Stage.SPARSE) == plan


def test_a_default_replaces_the_default_of_its_stage() -> None:
    assert Plan(defaults=(Q8,)).with_default(P5).with_default(Q4).defaults == (P5, Q4)


def test_steps_lie_in_the_order_of_their_stages() -> None:
    assert Plan().with_step("a", Q4).with_step("a", P5).steps("a") == (P5, Q4)
    assert Plan.from_json({"defaults": [Q4.to_json(), P5.to_json()]}).defaults == (P5, Q4)


def test_activation_bits_are_set_and_removed() -> None:
    plan = Plan().with_activation("a", 32)
    assert plan.activations.layers == {"a": 32}
    assert plan.with_activation("a", None) == Plan()
    with pytest.raises(PlanError, match="4 are not possible"):
        plan.with_activation("a", 4)


def test_steps_are_equal_when_they_mean_the_same() -> None:
    spelled = Step("quantize", weight_bits=8, per_channel=True)
    assert spelled == Step("quantize")
    assert hash(spelled) == hash(Step("quantize"))
    assert Plan(defaults=(spelled,)) == Plan(defaults=(Step("quantize"),))
    assert Step("quantize", weight_bits=7) != spelled
    assert Step.off("GRID") != Step.off("SPARSE")
    assert repr(Step("quantize", weight_bits=7)) == "Step('quantize', weight_bits=7)"


def test_settings_of_a_step_can_be_changed_but_not_in_place() -> None:
    step = Step("quantize", weight_bits=4)
    assert step.with_settings(per_channel=False) == Step("quantize", weight_bits=4, per_channel=False)
    with pytest.raises(TypeError):
        step.settings["weight_bits"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"leyers": {}}, ["plan", "leyers", "layers"]),
        ([], ["plan", "object"]),
        ({"format": 2}, ["format 2", "Update"]),
        ({"format": "x"}, ["'x'", "1"]),
        ({"defaults": [{"technique": "quantise", "settings": {}}]}, ["defaults", "quantise", "'quantize'"]),
        ({"layers": {"fc": [{"technique": "quantize", "settings": {"bits": 4}}]}}, ["fc", "bits", "weight_bits"]),
        ({"layers": {"fc": [{"technique": "quantize", "settings": {"weight_bits": 9}}]}}, ["fc", "9", "1 to 8"]),
        ({"layers": {"fc": [{"technique": "quantize", "settings": [4]}]}}, ["fc", "settings", "[4]"]),
        ({"layers": {"fc": [{"technique": "quantize", "settings": {"technique": 1}}]}}, ["fc", "'technique'"]),
        ({"layers": {"fc": [{"technique": "quantize", "bits": 4}]}}, ["fc", "'bits'"]),
        ({"layers": {"fc": [4]}}, ["fc", "object", "Write"]),
        ({"layers": {"fc": [{"settings": {}}]}}, ["fc", "no technique", "quantize"]),
        ({"layers": {"fc": ["quantize"]}}, ["fc", "object"]),
        ({"layers": {"fc": "quantize"}}, ["fc", "list"]),
        ({"layers": ["fc"]}, ["layers", "object"]),
        ({"layers": {"fc": [{"stage": "GRIT", "technique": None}]}}, ["GRIT", "GRID"]),
        ({"layers": {"fc": [Q8.to_json(), Q4.to_json()]}}, ["fc", "two steps", "GRID"]),
        ({"activations": {"bits": 4}}, ["activations", "4", "8, 16 or 32"]),
        ({"activations": {"bits": True}}, ["activations", "True"]),
        ({"activations": {"calibration": "best"}}, ["best", "mse"]),
        ({"activations": {"layers": {"fc": 8}}}, ["activations", "fc", "object"]),
        ({"activations": {"layers": [8]}}, ["activations", "object"]),
        ({"calibration": {"source": "/tmp/x"}}, ["/tmp/x", "role"]),
        ({"calibration": {"samples": 0}}, ["samples", "1 or more"]),
        ({"calibration": {"samples": True}}, ["samples", "True"]),
        ({"calibration": {"seed": "a"}}, ["seed", "'a'"]),
        ({"calibration": {"size": 3}}, ["calibration", "size"]),
        ({"jobs": [{"job": "untrain"}]}, ["jobs", "untrain", "retrain"]),
        ({"jobs": "retrain"}, ["jobs", "retrain"]),
        ({"attention": {"selector": "nothing_such"}}, ["nothing_such", "selector"]),
        ({"attention": "full"}, ["attention", "object"]),
        ({"preprocess": 3}, ["preprocess", "object"]),
        ({"model": [1]}, ["model", "object"]),
        ({"export": {"onnx_weights": "int4"}}, ["int4", "uint8"]),
        ({"export": {"speed": 1}}, ["export", "speed", "onnx_weights"]),
    ],
)
def test_what_is_wrong_in_a_file_is_named(value: Any, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_json(value)
    for word in words:
        assert word in str(caught.value)


def test_parts_may_be_left_out_or_null() -> None:
    assert Plan.from_json({}) == Plan()
    assert Plan.from_json({key: None for key in Plan().to_json() if key != "format"}) == Plan()


def test_a_plan_file_comes_back(tmp_path: Path) -> None:
    plan = Plan(defaults=(Q8,), layers={"fc": (Step.off("GRID"),)})
    plan.save(tmp_path / "folder" / "plan.json")
    assert Plan.load(tmp_path / "folder" / "plan.json") == plan
    assert [f.name for f in (tmp_path / "folder").iterdir()] == ["plan.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"version https://git-lfs"])
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"p\.json: is not a plan"):
        Plan.load(path)


def test_a_missing_plan_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(FileError, match="cannot be read"):
            Plan.load(path)


def test_an_error_in_a_file_names_the_file_and_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"layers": {"fc": [{"technique": "quantize", "settings": {"weight_bits": 0}}]}}')
    with pytest.raises(PlanError, match=r"p\.json: plan: layers: fc: quantize: .*0 is not possible"):
        Plan.load(path)


def test_a_full_disk_keeps_the_old_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.json"
    Plan(defaults=(Q8,)).save(path)
    real = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        real(self, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FileError, match=r"No space left.*Free some space"):
        Plan(defaults=(Q4,)).save(path)
    monkeypatch.undo()
    assert Plan.load(path) == Plan(defaults=(Q8,))
    assert [f.name for f in tmp_path.iterdir()] == ["p.json"]


def test_a_kill_between_writing_and_renaming_keeps_the_old_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    Plan(defaults=(Q8,)).save(path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Plan(defaults=(Q4,)).save(path)
    assert Plan.load(path) == Plan(defaults=(Q8,))
    assert [f.name for f in tmp_path.iterdir()] == ["p.json"]


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.json").mkdir()
    with pytest.raises(FileError, match=r"p\.json: cannot be written"):
        Plan().save(tmp_path / "p.json")
    assert [f.name for f in tmp_path.iterdir()] == ["p.json"]
