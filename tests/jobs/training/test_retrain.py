"""Retraining: it recovers accuracy, masks hold or tighten to the plan's amount, decisions are used afterwards."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.core.encoding import Grid, Sparse
from studio.core.plan import Plan, Step
from studio.engine.engine import Engine
from studio.jobs._masks import Tightening, cubic, weakened
from studio.jobs._student import Student
from studio.network.network import Network
from tests.jobs.training.conftest import Runner, engine_of

HALF, MOST = (Plan().with_default(Step("prune_weights", amount=a)) for a in (0.5, 0.7))
SETTINGS = {"epochs": 4, "batch_size": 36, "learning_rate": 0.05}


def zeros(engine: Engine, plan: Plan) -> dict[str, int]:
    return {name: int((one.decode() == 0).sum()) for name, one in engine.encodings(plan).items()}


@pytest.mark.parametrize("schedule", ["one_shot", "cubic"])
def test_masks_end_at_the_plan_s_amount_and_accuracy_recovers(engine: Engine, runner: Runner, schedule: str) -> None:
    before = engine.measure(MOST).value
    state = runner.run("retrain", engine, MOST, schedule=schedule, **SETTINGS)
    plan = replace(MOST, state=engine.add_state(state))
    assert engine.unused(plan) == ()
    assert zeros(engine, plan) == zeros(engine, MOST)
    assert engine.measure(plan).value > before + 0.1
    if schedule == "one_shot":
        for name, one in engine.encodings(plan).items():
            assert np.array_equal(one.decode() == 0, engine.encodings(MOST)[name].decode() == 0)


def test_a_global_threshold_is_tightened_over_all_layers(engine: Engine, runner: Runner) -> None:
    plan = Plan().with_default(Step("prune_weights", amount=0.8, scope="global"))
    state = runner.run("retrain", engine, plan, schedule="cubic", **{**SETTINGS, "epochs": 2})
    total = sum(zeros(engine, replace(plan, state=engine.add_state(state))).values())
    assert total == int(
        0.8 * sum(layer.weight_shape and np.prod(layer.weight_shape) for layer in engine.graph.weighted)
    )


def test_what_training_decided_is_not_cut_again(engine: Engine, runner: Runner) -> None:
    first = runner.run("retrain", engine, HALF, schedule="cubic", **{**SETTINGS, "epochs": 2})
    plan = replace(HALF, state=engine.add_state(first))
    second = runner.run("retrain", engine, plan, schedule="cubic", start=0.0, **{**SETTINGS, "epochs": 2})
    after = replace(HALF, state=engine.add_state(second))
    for name, one in engine.encodings(after).items():
        assert np.array_equal(one.decode() == 0, engine.encodings(plan)[name].decode() == 0)
    assert first.id != second.id


def test_later_steps_lie_on_the_trained_mask(engine: Engine, runner: Runner) -> None:
    state = runner.run("retrain", engine, HALF, **{**SETTINGS, "epochs": 1})
    plan = replace(HALF, state=engine.add_state(state)).with_default(Step("quantize", weight_bits=8))
    for name, one in engine.encodings(plan).items():
        assert isinstance(one, Sparse)
        assert isinstance(one.values, Grid)
        assert np.abs(one.decode() - one.mask * state.tensors[f"{name}.weight"]).max() < 0.05
    assert engine.unused(plan) == ()


def test_without_labels_it_learns_from_the_original(network: Network, files: dict[str, Path], runner: Runner) -> None:
    engine = engine_of(network, files, " unlabelled")
    before = engine.measure(MOST).value
    state = runner.run("retrain", engine, MOST, **SETTINGS)
    assert state.about["metric"] == "agreement"
    assert "Without labels" in state.about["verdict"]
    assert engine.measure(replace(MOST, state=engine.add_state(state))).value > before + 0.1


def test_early_stopping_returns_the_best_epoch(engine: Engine, runner: Runner) -> None:
    state = runner.run("retrain", engine, HALF, **{**SETTINGS, "epochs": 30, "patience": 2})
    curve = [entry["validation"] for entry in state.about["curve"]]
    assert len(curve) < 30
    best = 1 + int(np.argmax(curve[1:]))  # the first one is before training
    assert len(curve) - 1 - best == 2
    assert state.about["validation"] == {"before": curve[0], "after": curve[best]}
    words = f"Ended after epoch {best + 2} of 30; the best on validation stays, epoch {best} with"
    assert words in state.about["ended"]
    assert "ended" not in runner.run("retrain", engine, HALF, **SETTINGS).about


def test_masks_begin_with_a_part_and_tighten_to_all_of_the_amount(engine: Engine) -> None:
    student = Student(engine, MOST, quantized=False)
    tightening, pruned = Tightening(student.masks, student.model, start=0.3, ramp=0.5), []
    for step in range(40):
        tightening.before(step, 40)
        pruned.append({name: 1 - float(mask.mean()) for name, mask in student.masks.tensors.items()})
    assert pruned[0]["conv2"] == pytest.approx(0.3 * 0.7, abs=0.01)
    assert pruned[10]["conv2"] == pytest.approx(cubic(0.5, 0.3) * 0.7, abs=0.01)
    assert pruned[20] == pruned[-1]
    assert pruned[-1]["conv2"] == pytest.approx(0.7, abs=0.01)
    assert all(a["conv2"] <= b["conv2"] for a, b in itertools.pairwise(pruned))


def test_the_cubic_schedule() -> None:
    """Zhu and Gupta: s_f + (s_i - s_f) (1 - t)^3, here in parts of s_f."""
    assert cubic(0, 0.3) == pytest.approx(0.3)
    assert cubic(0.5, 0.2) == pytest.approx(1 - 0.8 * 0.125)
    assert cubic(1, 0.3) == cubic(1.5, 0.3) == 1


def test_a_pattern_has_no_weaker_form() -> None:
    fixed, free = Step("prune_weights", pattern="2:4"), Step("prune_weights", amount=0.8)
    assert weakened(fixed, 0.5) == fixed
    assert weakened(free, 0.5) == Step("prune_weights", amount=0.4)
    assert weakened(free, 1) is free
