"""Batch norm in training: it changes nothing at the start, and nothing as it is folded into the layers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from studio.core.plan import Plan, Step
from studio.engine.engine import Engine
from studio.jobs._optimizers import Optimizers
from studio.jobs._retrain import goal_of, loss_of
from studio.jobs._samples import split
from studio.jobs._settings import TrainingSettings
from studio.jobs._student import Student
from tests.jobs.training.conftest import Killed, Memory, Runner, killer, often

SETTINGS = {"epochs": 3, "batch_size": 54, "learning_rate": 0.02, "batch_norm": True}
FLOAT = Plan().with_default(Step("prune_weights", amount=0.5))
GRID = Plan().with_default(Step("quantize", weight_bits=4))
CUT = Plan().with_default(Step("prune_channels", amount=0.5))


def begun(engine: Engine, plan: Plan) -> Student:
    student = Student(engine, plan, quantized=plan is GRID, activations=False)
    student.begin(split(engine, TrainingSettings()), restored=False, batch_norm=True)
    return student


def some_steps(engine: Engine, student: Student) -> None:
    samples = split(engine, TrainingSettings(batch_size=32, learning_rate=0.1))
    optimizers = Optimizers(student.groups(samples.settings), samples.settings)
    loss = loss_of(student, goal_of(engine, samples))
    for step in range(10):
        optimizers.step(loss(*samples.batch(step)), 0.2)
        with torch.no_grad():
            student.limit()


@pytest.mark.parametrize("plan", [FLOAT, GRID])
def test_it_changes_nothing_at_the_start_nor_when_it_is_folded(engine: Engine, plan: Plan) -> None:
    x = split(engine, TrainingSettings()).some
    without = Student(engine, plan, quantized=plan is GRID, activations=False)
    student = begun(engine, plan)
    with torch.no_grad():
        assert torch.allclose(student.model(x)["softmax"], without.model(x)["softmax"], atol=1e-4)
    some_steps(engine, student)
    student.measure(goal_of(engine, split(engine, TrainingSettings())))
    with torch.no_grad():
        trained = student.model(x)["softmax"]
        assert not torch.allclose(trained, without.model(x)["softmax"], atol=1e-2)
        student.fold()
        assert torch.allclose(student.model(x)["softmax"], trained, atol=1e-4)
        student.fold()  # once and for all
        assert torch.allclose(student.model(x)["softmax"], trained, atol=1e-4)
        for norm in student.model.norms.values():
            assert torch.equal(norm(x), x)
    for name in student.work:  # what is stored is still exactly what is used
        assert np.array_equal(student.encoding(name).decode(), student.model.used(name).detach().numpy())


def test_steps_see_their_batch_and_validation_what_was_kept(engine: Engine) -> None:
    student = begun(engine, FLOAT)
    samples = split(engine, TrainingSettings())
    x = samples.some[:20] + 3.0  # other than what was seen
    batch = student.model(x, ["conv2"])["conv2"]
    with torch.no_grad():
        kept = student.model(x, ["conv2"])["conv2"]
    first = student.norms
    assert first is not None
    rows = batch.detach().movedim(1, 0).flatten(1)
    assert torch.allclose(rows.mean(1), first.tensors["conv2:offset"], atol=1e-4)
    assert torch.allclose(rows.std(1), first.tensors["conv2:gain"], rtol=0.02)
    assert not torch.allclose(batch, kept, atol=1e-2)


def test_the_last_layer_has_none(engine: Engine) -> None:
    student = begun(engine, FLOAT)
    assert set(student.model.norms) == {"conv1", "conv2", "conv3"}


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize(
    ("job", "plan", "extra"),
    [
        ("retrain", FLOAT, {}),
        ("retrain", FLOAT, {"patience": 1}),
        ("retrain", CUT, {"rounds": 2}),
        ("quantization_aware", GRID, {"freeze": 0.5}),
        ("distill", CUT, {"compare": False}),
    ],
)
def test_a_killed_run_gives_the_same_result(
    engine: Engine, job: str, plan: Plan, extra: dict[str, object], at: int
) -> None:
    settings = {**SETTINGS, **extra}
    memory = Memory(often(at))
    for stop in [killer(random.Random(at + i).randrange(1, 28)) for i in range(2)]:
        try:
            Runner().run(job, engine, plan, memory, stop, **settings)
        except Killed:
            continue
    assert Runner().run(job, engine, plan, memory, **settings).id == Runner().run(job, engine, plan, **settings).id


def test_single_samples_see_the_first_statistics(engine: Engine, runner: Runner) -> None:
    student = begun(engine, FLOAT)
    x = split(engine, TrainingSettings()).some
    alone = torch.cat([student.model(one)["softmax"] for one in x[:4, None]])
    with torch.no_grad():
        assert torch.allclose(alone, student.model(x[:4])["softmax"], atol=1e-5)
    state = runner.run("retrain", engine, FLOAT, **{**SETTINGS, "epochs": 1, "batch_size": 1})
    assert state.about["curve"][-1]["validation"] > 0.5
