"""Quantization-aware training: what was trained is what the preview and the written files compute."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core.encoding import Grid, Sparse, unpack
from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.settings import validate
from studio.core.state import State
from studio.engine.engine import Engine
from studio.engine.evaluator import flat
from studio.engine.exporting import export_plan
from studio.jobs._base import Task
from studio.jobs._loop import train
from studio.jobs._quantization_aware import quantized_lesson
from studio.jobs._resume import Keeper
from studio.jobs._retrain import goal_of, quantized
from studio.jobs._samples import split
from studio.jobs.quantization_aware import QuantizationAwareSettings
from tests.jobs.training.conftest import Killed, Memory, Runner, killer, often

SETTINGS = {"epochs": 3, "batch_size": 54, "learning_rate": 0.02}
EIGHT, TERNARY = (Plan().with_default(Step("quantize", weight_bits=bits)) for bits in (8, 2))
SPARSE = Plan().with_default(Step("prune_weights", amount=0.5)).with_default(Step("quantize", weight_bits=4))


def outputs(engine: Engine, plan: Plan) -> np.ndarray:
    return flat(engine.outputs(plan))


@pytest.mark.parametrize(
    ("plan", "more"),
    [
        (EIGHT, {}), (EIGHT, {"bfloat16": True}), (TERNARY, {}), (SPARSE, {}), (EIGHT, {"batch_norm": True}),
        (TERNARY, {"batch_norm": True}), (SPARSE, {"batch_norm": True}),
    ],
)  # fmt: skip
def test_the_preview_computes_what_was_trained(engine: Engine, plan: Plan, more: dict[str, bool]) -> None:
    settings = validate(QuantizationAwareSettings, {**SETTINGS, **more}, "quantization_aware")
    task = Task(engine, plan, settings, lambda report: None, Memory(), lambda: None)
    samples = split(engine, settings)
    student, goal = quantized(task), goal_of(engine, samples)
    train(task, quantized_lesson(task, student, goal, samples), samples, Keeper(task))
    after = replace(plan, state=engine.add_state(student.state({})))
    assert engine.unused(after) == ()
    assert not student.model.half  # the last steps multiply as the export does
    for name, one in engine.encodings(after).items():
        assert np.array_equal(one.decode(), student.model.used(name).detach().numpy())
    evaluator = engine.evaluator
    assert evaluator is not None
    x = torch.from_numpy(evaluator.dataset.batch(evaluator.order))
    with torch.no_grad():
        trained = student.model(x)["softmax"].numpy()
    program = outputs(engine, after)
    assert (program.argmax(1) == trained.argmax(1)).mean() >= 0.99
    # Both end in steps of 1/256; rounding at ties is all that differs.
    assert (np.abs(program - trained) < 1 / 512).mean() > 0.97
    assert np.abs(program - trained).max() < 0.1


def test_training_starts_from_the_integers_and_biases_of_learned_rounding(engine: Engine) -> None:
    plan = Plan().with_default(Step("quantize", weight_bits=2, rounding="learned"))
    settings = validate(QuantizationAwareSettings, SETTINGS, "quantization_aware")
    student = quantized(Task(engine, plan, settings, lambda report: None, Memory(), lambda: None))
    nearest = engine.encodings(Plan().with_default(Step("quantize", weight_bits=2)))
    assert engine.pending(plan) == ()
    for name, one in engine.encodings(plan).items():
        used = student.model.used(name).detach().numpy()
        assert np.allclose(used, one.decode(), rtol=1e-6)
        assert not np.array_equal(used, nearest[name].decode())
        bias = engine.tuned(plan).by_name[name].operator.bias
        assert torch.equal(student.model.tensors[f"{name}.bias"], bias)


@pytest.mark.parametrize(("bits", "gain"), [(2, 0.05), (3, -0.02)])
def test_few_bits_keep_more_accuracy_than_without_training(engine: Engine, bits: int, gain: float) -> None:
    plan = Plan().with_default(Step("quantize", weight_bits=bits))
    before = engine.measure(plan).value
    state = Runner().run("quantization_aware", engine, plan, **{**SETTINGS, "epochs": 5})
    after = engine.measure(replace(plan, state=engine.add_state(state))).value
    assert after > before + gain


def test_decisions_are_integers_of_the_plan_s_bits_over_its_mask(engine: Engine, runner: Runner) -> None:
    state = runner.run("quantization_aware", engine, SPARSE, **{**SETTINGS, "epochs": 1})
    plan = replace(SPARSE, state=engine.add_state(state))
    assert set(state.encodings) == {"conv1", "conv2", "conv3", "fc"}
    for name, one in engine.encodings(plan).items():
        kinds = [unpack(content) for content in state.encodings[name].values()]
        assert len(kinds) == 2  # the mask alone, and integers over it
        inner = one.values if isinstance(one, Sparse) else one
        assert isinstance(inner, Grid)
        assert inner.width == 4
        weight = engine.base.encoder.dense[name].values
        assert int((one.decode() == 0).sum()) >= weight.size // 2
    assert set(state.ranges) >= {"input", "relu1", "relu2", "relu3", "fc"}
    formats = {name: info.format for name, info in engine.program(plan).tensors.items()}
    for name in ("relu1", "relu2", "relu3", "fc"):
        low, high = state.ranges[name]
        assert formats[name] is not None
        assert formats[name].scale == np.float32((high - low) / 255)


def test_scales_are_learned_until_they_freeze(engine: Engine) -> None:
    settings = {**SETTINGS, "epochs": 1, "restore": False, "batch_norm": False}
    learned = Runner().run("quantization_aware", engine, EIGHT, **settings)
    fixed = Runner().run("quantization_aware", engine, EIGHT, scale_rate=0.0, **settings)
    started = engine.encodings(EIGHT)
    for name, own in fixed.encodings.items():
        (one,) = (unpack(content) for content in own.values())
        (other,) = (unpack(content) for content in learned.encodings[name].values())
        assert isinstance(one, Grid)
        assert isinstance(other, Grid)
        assert isinstance(started[name], Grid)
        assert np.array_equal(one.scale, started[name].scale)
        ratio = other.scale / one.scale
        assert 0 < np.abs(ratio - 1).max() < 0.02


def test_dampening_leaves_fewer_weights_between_two_levels(engine: Engine) -> None:
    def between(state: State) -> float:
        """Share of weights that are nearer to where two levels meet than to a level."""
        far = []
        for name, own in state.encodings.items():
            (grid,) = (unpack(content) for content in own.values())
            assert isinstance(grid, Grid)
            place = state.tensors[f"{name}.weight"] / grid.scale.reshape(-1, *[1] * (len(grid.shape) - 1))
            far.append((np.abs(place - grid.q)[np.abs(place) < 1.5] > 0.25).ravel())
        return float(np.concatenate(far).mean())

    free, damped = (
        Runner().run("quantization_aware", engine, TERNARY, dampening=value, **SETTINGS) for value in (0.0, 3.0)
    )
    assert between(damped) < 0.8 * between(free)


@pytest.mark.parametrize("at", [2, 15, 26])
def test_a_killed_run_gives_the_same_integers(engine: Engine, at: int) -> None:
    wanted = Runner().run("quantization_aware", engine, SPARSE, **SETTINGS)
    memory = Memory(often(at))
    for stop in [killer(random.Random(at + i).randrange(1, 8)) for i in range(2)]:
        with pytest.raises(Killed):
            Runner().run("quantization_aware", engine, SPARSE, memory, stop, **SETTINGS)
    assert Runner().run("quantization_aware", engine, SPARSE, memory, **SETTINGS).id == wanted.id


def test_a_plan_without_integers_is_refused(engine: Engine, runner: Runner) -> None:
    with pytest.raises(Refused, match="quantized"):
        runner.run("quantization_aware", engine, Plan().with_default(Step("prune_weights")))


def test_written_files_compute_it_too(engine: Engine, runner: Runner, tmp_path: Path) -> None:
    state = runner.run("quantization_aware", engine, EIGHT, **{**SETTINGS, "epochs": 1})
    plan = replace(EIGHT, state=engine.add_state(state))
    manifest = export_plan(engine, plan, tmp_path / "out", ["onnx", "tflite"], {"name": "small"})
    assert [row["passed"] for row in manifest["exports"]] == [True, True]
    assert all(row["value"] == pytest.approx(engine.measure(plan).value, abs=0.0051) for row in manifest["exports"])
