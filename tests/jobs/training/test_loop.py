"""The training loop: resumed runs are the undisturbed ones, data that does not fit is refused, curves are told."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from studio import data
from studio.core.errors import Cancelled, DataError, PlanError, Refused, StudioError
from studio.core.plan import Plan, Step
from studio.core.settings import validate
from studio.engine.engine import Engine
from studio.jobs._optimizers import factor
from studio.jobs._samples import split
from studio.jobs._settings import TrainingSettings
from studio.network.network import Network
from tests.jobs.training.conftest import (
    Killed,
    Memory,
    Runner,
    canceller,
    engine_of,
    killer,
    often,
    trained_network,
)

PRUNED = Plan().with_default(Step("prune_weights", amount=0.7))
SHORT = {"epochs": 3, "batch_size": 60, "learning_rate": 0.05}


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"schedule": "cubic", "optimizer": "adam", "learning_rate": 0.003},
        {"patience": 1, "shift": 1, "noise": 0.1, "validation": 0.2},
        {"mixup": 0.4, "cutmix": 0.4, "label_smoothing": 0.1},
    ],
)
def test_a_run_that_is_killed_at_random_gives_the_undisturbed_result(engine: Engine, extra: dict[str, object]) -> None:
    wanted = Runner().run("retrain", engine, PRUNED, **{**SHORT, **extra})
    draws = random.Random(len(extra))
    memory = Memory(often(1))
    for _ in range(4):
        with pytest.raises(Killed):
            Runner().run("retrain", engine, PRUNED, memory, killer(draws.randrange(1, 6)), **{**SHORT, **extra})
    found = Runner().run("retrain", engine, PRUNED, memory, **{**SHORT, **extra})
    assert memory.saved > 1
    assert found.id == wanted.id
    assert found.about["curve"] == wanted.about["curve"]


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(engine: Engine) -> None:
    memory = Memory(lambda: True)
    with pytest.raises(Killed):
        Runner().run("retrain", engine, PRUNED, memory, killer(5), **{**SHORT, "seed": 1})
    found = Runner().run("retrain", engine, PRUNED, memory, **SHORT)
    assert found.id == Runner().run("retrain", engine, PRUNED, **SHORT).id


def test_the_seed_decides(engine: Engine) -> None:
    runs = [Runner().run("retrain", engine, PRUNED, **SHORT, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].id == runs[1].id != runs[2].id


def test_cancelling_keeps_a_checkpoint(engine: Engine) -> None:
    memory = Memory()
    with pytest.raises(Cancelled):
        Runner().run("retrain", engine, PRUNED, memory, canceller(4), **SHORT)
    assert memory.saved == 1


def test_reports_come_several_times_an_epoch_with_time_left(engine: Engine, runner: Runner) -> None:
    runner.run("retrain", engine, PRUNED, epochs=2, batch_size=20)
    steps = 2 * (540 // 20)  # 600 samples less a tenth
    assert {report.steps for report in runner.reports} == {steps}
    assert runner.reports[-1].step == steps
    assert [r.epoch for r in runner.reports if "validation" in r.values] == [0, 1, 2]
    first = [r for r in runner.reports if r.epoch == 1]
    assert len(first) >= 8
    assert all(r.seconds_left is not None and r.seconds_left >= 0 for r in first[2:])
    assert all(math.isfinite(value) for r in runner.reports for value in r.values.values())


def test_training_that_does_harm_says_so(engine: Engine) -> None:
    harmed = Runner().run("retrain", engine, Plan(), epochs=1, batch_size=54, learning_rate=1.0, clip=0.0)
    curve = harmed.about["curve"]
    assert curve[0]["validation"] - curve[-1]["validation"] > 0.02
    assert "Lower the learning rate" in harmed.about["warning"]
    assert "warning" not in Runner().run("retrain", engine, Plan(), epochs=1, batch_size=54).about


def test_harm_beside_soft_labels_names_them(engine: Engine) -> None:
    wild = {"epochs": 1, "batch_size": 54, "learning_rate": 1.0, "clip": 0.0, "mixup": 0.5, "label_smoothing": 0.1}
    assert "or label_smoothing and mixup." in Runner().run("retrain", engine, Plan(), **wild).about["warning"]


@pytest.mark.parametrize("soft", [{"label_smoothing": 0.1}, {"mixup": 0.5}])
def test_a_network_with_far_scores_learns_by_soft_labels_too(files: dict[str, Path], soft: dict[str, float]) -> None:
    """Scores of hundreds: cross-entropy with soft labels would first of all have to make them small."""
    network = trained_network()
    last = network.by_name["fc"].operator
    with torch.no_grad():
        for tensor in (last.weight, last.bias):
            tensor.mul_(200)
    about = Runner().run("retrain", engine_of(network, files), Plan(), epochs=2, batch_size=54, **soft).about
    assert "warning" not in about
    assert about["curve"][-1]["loss"] < 20


def test_masks_that_tighten_are_held_against_all_of_the_plan(engine: Engine) -> None:
    plan = Plan().with_default(Step("prune_weights", amount=0.9))
    gradual = {"epochs": 2, "batch_size": 54, "schedule": "cubic", "start": 0.0}
    better = Runner().run("retrain", engine, plan, **gradual, learning_rate=0.05).about
    worse = Runner().run("retrain", engine, plan, **gradual, learning_rate=0.01).about
    for about in (better, worse):  # nothing is pruned at the first point
        assert about["curve"][0]["validation"] - about["curve"][-1]["validation"] > 0.02
    assert "warning" not in better
    assert "Raise epochs" in worse["warning"]


def test_a_loss_that_is_no_number_stops_at_the_last_good_checkpoint(
    network: Network, files: dict[str, Path], tmp_path: Path
) -> None:
    with np.load(files["train"]) as found:
        np.savez(tmp_path / "train.npz", x=found["x"] * 1e12, y=found["y"])
    engine = engine_of(network, {**files, "train": tmp_path / "train.npz"})
    memory = Memory(lambda: True)
    with pytest.raises(StudioError, match="learning_rate") as caught:
        Runner().run("retrain", engine, Plan(), memory, epochs=40, batch_size=60, learning_rate=1.0, clip=0.0)
    assert "Lower" in caught.value.remedy
    assert f"the last good checkpoint is of step {memory.saved}" in caught.value.what
    kept = memory.content or {}
    tensors = [value for value in kept.values() if isinstance(value, torch.Tensor)]
    assert all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())


def test_the_validation_is_drawn_by_class_and_never_trained_on(engine: Engine) -> None:
    found = split(engine, TrainingSettings(validation=0.1))
    assert len(found.held) == 60
    assert not set(found.held) & set(found.trained)
    labels = engine.sources["train"].labels
    assert labels is not None
    share = np.bincount(labels[found.held], minlength=4) / 60
    assert np.abs(share - np.bincount(labels, minlength=4) / 600).max() < 1 / 60
    seen = [found._order(epoch) for epoch in (0, 1)]
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(found.trained)
    assert list(seen[0]) != list(seen[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.full(600, 7)}, "label of sample 0 is 7"),
        ({"x": np.zeros((20, 1, 8, 8), np.float32), "y": np.zeros(20, np.int64)}, "batch_size"),
        ({"classes": np.array(["a", "b", "c", "d"])}, "classes"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_the_start(
    network: Network, files: dict[str, Path], tmp_path: Path, change: dict[str, np.ndarray], words: str
) -> None:
    with np.load(files["train"]) as found:
        np.savez(tmp_path / "train.npz", **{**dict(found), **change})
    with np.load(files["evaluation"]) as found:
        np.savez(tmp_path / "evaluation.npz", **dict(found), classes=np.array(["a", "b", "d", "c"]))
    engine = engine_of(network, {name: tmp_path / f"{name}.npz" for name in ("train", "evaluation")})
    memory = Memory()
    with pytest.raises((Refused, DataError), match=words):
        Runner().run("retrain", engine, PRUNED, memory, batch_size=32)
    assert memory.saved == 0


def test_training_on_the_evaluation_data_is_refused(engine: Engine, network: Network, files: dict[str, Path]) -> None:
    same = engine_of(network, {**files, "train": files["evaluation"]})
    with pytest.raises(Refused, match="evaluation data"):
        Runner().run("retrain", same, PRUNED)
    alone = Engine(network, engine.graph, {"evaluation": engine.sources["evaluation"]})
    with pytest.raises(Refused, match="--train-data"):
        Runner().run("retrain", alone, PRUNED)


def test_samples_of_another_shape_are_refused_when_opened(network: Network, tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x=np.zeros((50, 3, 5, 5), np.float32), y=np.zeros(50, np.int64))
    with pytest.raises(StudioError):
        data.open(tmp_path / "train.npz", input_shape=network.input_shape)


def test_rates_rise_and_fall() -> None:
    assert [factor("constant", share) for share in (0, 0.5, 1)] == [1, 1, 1]
    assert factor("cosine", 0) == 1
    assert factor("cosine", 0.5) == pytest.approx(0.5)
    assert factor("cosine", 1) == pytest.approx(0, abs=1e-12)
    assert factor("one_cycle", 0) == pytest.approx(1 / 25)
    assert factor("one_cycle", 0.2) == pytest.approx(1)
    assert factor("one_cycle", 0.6) == pytest.approx((1 + 1e-3) / 2)  # the middle of the way down
    assert factor("one_cycle", 1) == pytest.approx(1e-3)


def test_a_wrong_setting_names_its_range() -> None:
    with pytest.raises(PlanError, match="learning_rate"):
        validate(TrainingSettings, {"learning_rate": 2.0}, "retrain")
