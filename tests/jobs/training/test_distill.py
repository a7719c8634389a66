"""Distillation: losses by hand, the run without teacher beside it, teachers that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core.errors import DataError, Refused
from studio.core.plan import Plan, Step
from studio.data.preprocess import Preprocess
from studio.engine.engine import Engine
from studio.engine.exporting import export_plan
from studio.jobs._distill import verdict
from studio.jobs._goal import divergence
from studio.jobs._teacher import attention_distance, inner_pairs, relation_distance
from studio.jobs._teacher_input import change_of
from studio.network.network import Network
from tests.jobs.training.conftest import Killed, Memory, Runner, engine_of, killer, often, samples, trained_network

SETTINGS = {"epochs": 2, "batch_size": 54, "learning_rate": 0.02}
PRUNED = Plan().with_default(Step("prune_weights", amount=0.6))
EVERYTHING = {"hints": 1.0, "attention": 10.0, "relations": 1.0}


def test_response_is_the_kullback_leibler_divergence() -> None:
    student, teacher = (torch.tensor(v) for v in ([[1.0, 2.0, 0.0]], [[0.0, 3.0, 1.0]]))
    q, p = (np.exp(np.array(v) / 2) / np.exp(np.array(v) / 2).sum() for v in ([1.0, 2.0, 0.0], [0.0, 3.0, 1.0]))
    assert float(divergence(student, teacher, 2.0)) == pytest.approx(4 * float((p * np.log(p / q)).sum()), rel=1e-5)
    assert float(divergence(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-6)


def test_attention_and_relations_ignore_what_they_should() -> None:
    x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert float(attention_distance(x, 3 * x[:, [2, 0, 3, 1]])) == pytest.approx(0, abs=1e-6)  # order, size
    assert float(attention_distance(x, x.flip(-1))) > 0.01
    rows = x.flatten(1)
    turned = torch.linalg.qr(torch.randn(100, 100, generator=torch.Generator().manual_seed(1)))[0]
    assert float(relation_distance(rows, 5 * rows @ turned + 7)) == pytest.approx(0, abs=1e-4)
    assert float(relation_distance(rows, rows[[1, 0, 2, 3, 4, 5]])) > 1e-3


def test_relations_of_three_points_by_hand() -> None:
    """Distances 3, 4, 5 and 1, 1, sqrt(2) over their means; angles at each corner."""
    a = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    b = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    root = 2**0.5
    far = [3 / 4 - 3 / (2 + root), 1 - 3 / (2 + root), 5 / 4 - 3 * root / (2 + root)]
    angle = [0.0, 3 / 5 - 1 / root, 4 / 5 - 1 / root]  # right angle, then the other two
    distances = 2 * sum(d * d / 2 for d in far) / 9
    angles = 2 * sum(d * d / 2 for d in angle) / 27  # of (N, N, N) the other entries are 0 or 1 in both
    assert float(relation_distance(a, b)) == pytest.approx(distances + 2 * angles, rel=1e-4)


def test_inner_tensors_are_paired_by_their_places(network: Network) -> None:
    (pair,) = inner_pairs(network, trained_network(channels=12))
    assert (pair.student, pair.teacher) == ("relu3", "relu3")


@pytest.mark.parametrize("extra", [{}, EVERYTHING])
def test_both_runs_are_told_and_judged(engine: Engine, runner: Runner, extra: dict[str, float]) -> None:
    state = runner.run("distill", engine, PRUNED, **SETTINGS, **extra)
    seen = {name for report in runner.reports for name in report.values}
    assert seen == {"loss", "validation", "loss without teacher", "without teacher"}
    assert [report.step for report in runner.reports] == sorted(report.step for report in runner.reports)
    assert runner.reports[-1].step == runner.reports[-1].steps == 2 * 2 * 10
    assert len(state.about["curve"]) == len(state.about["without"]) == 3  # before, and two epochs
    assert "teacher" in state.about["verdict"]
    retrained = Runner().run("retrain", engine, PRUNED, **SETTINGS)
    assert state.about["without"] == retrained.about["curve"]  # the same seeds and budget, no teacher
    plan = replace(PRUNED, state=engine.add_state(state))
    assert engine.measure(plan).value > engine.measure(PRUNED).value
    assert engine.unused(plan) == ()


@pytest.mark.parametrize("at", [3, 12, 25])
def test_a_killed_run_gives_the_same_result_in_either_half(engine: Engine, at: int) -> None:
    plan = PRUNED.with_default(Step("quantize", weight_bits=4))
    wanted = Runner().run("distill", engine, plan, hints=1.0, **SETTINGS)
    memory = Memory(often(at))
    with pytest.raises(Killed):
        Runner().run("distill", engine, plan, memory, killer(at), hints=1.0, **SETTINGS)
    found = Runner().run("distill", engine, plan, memory, hints=1.0, **SETTINGS)
    assert found.id == wanted.id
    assert found.about["verdict"] == wanted.about["verdict"]


def test_without_labels_the_teacher_alone_teaches(network: Network, files: dict[str, Path], runner: Runner) -> None:
    engine = engine_of(network, files, " unlabelled")
    state = runner.run("distill", engine, PRUNED, **SETTINGS)
    assert {name for report in runner.reports for name in report.values} == {"loss", "validation"}
    assert "not compared" in state.about["verdict"]
    assert engine.measure(replace(PRUNED, state=engine.add_state(state))).value > engine.measure(PRUNED).value


def onnx_of(network: Network, files: dict[str, Path], folder: Path) -> Path:
    export_plan(engine_of(network, files), Plan(), folder, ["onnx-float"], {"name": "teacher"})
    (path,) = folder.glob("*.onnx")
    return path


def test_a_file_can_teach(engine: Engine, files: dict[str, Path], runner: Runner, tmp_path: Path) -> None:
    teacher = onnx_of(trained_network(channels=12), files, tmp_path / "teacher")
    state = runner.run("distill", engine, PRUNED, teacher=str(teacher), compare=False, **SETTINGS, **EVERYTHING)
    assert "not measured" in state.about["verdict"]
    assert engine.measure(replace(PRUNED, state=engine.add_state(state))).value > engine.measure(PRUNED).value


def test_a_teacher_with_other_answers_is_refused_with_what_would_fit(
    engine: Engine, network: Network, files: dict[str, Path], runner: Runner, tmp_path: Path
) -> None:
    cut = Network("other", [n for n in network.nodes if n.name not in ("flat", "fc", "softmax")], ["mean"])
    x, _ = samples(60, 3)
    np.savez(tmp_path / "x.npz", x=x)
    path = onnx_of(cut, {"train": tmp_path / "x.npz", "evaluation": tmp_path / "x.npz"}, tmp_path / "other")
    with pytest.raises(Refused, match="gives 8, the network 4") as caught:
        runner.run("distill", engine, PRUNED, teacher=str(path), **SETTINGS)
    assert "1x8x8 to 4" in str(caught.value)
    with pytest.raises(Refused, match=r"nothing\.onnx"):
        runner.run("distill", engine, PRUNED, teacher=str(tmp_path / "nothing.onnx"), **SETTINGS)
    assert runner.reports == []


def test_a_teacher_that_wants_other_samples_is_refused(
    engine: Engine, files: dict[str, Path], runner: Runner, tmp_path: Path
) -> None:
    network = trained_network()
    last = network.by_name["fc"].operator
    with torch.no_grad():
        for tensor in last.parameters():
            tensor.neg_()
    path = onnx_of(network, files, tmp_path / "upside down")
    with pytest.raises(Refused, match=r"gets \d+ % of 60 training samples right.* other preprocessing"):
        runner.run("distill", engine, PRUNED, teacher=str(path), **SETTINGS)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_samples_are_changed_to_what_the_teacher_takes(order: str) -> None:
    ours = Preprocess(layout="NCHW", scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    theirs = Preprocess(scale=1 / 128, mean=(1.0, 0.5, 0.0), std=(0.5,), channels=order)
    raw = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4)).astype(np.float32)
    found = change_of(ours, theirs, (3, 4, 4), "its.json")(torch.from_numpy(ours.normalise(raw, 1)))
    wanted = theirs.normalise(raw if order == "RGB" else raw[:, ::-1].copy(), 1)
    assert np.allclose(found.numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("its", [{"mean": [0.5, 0.5]}, {"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0]}])
def test_preprocessing_that_fits_no_channels_is_refused(its: dict[str, list[float]]) -> None:
    ours = Preprocess(layout="NCHW", mean=(0.4, 0.5, 0.6))
    with pytest.raises(DataError, match=r"its\.json"):
        change_of(ours, Preprocess.from_json(its), (3, 4, 4), "its.json")


def test_a_teacher_learned_on_other_numbers_teaches_with_its_preprocessing(
    engine: Engine, files: dict[str, Path], runner: Runner, tmp_path: Path
) -> None:
    network = trained_network()
    with torch.no_grad():  # it takes a quarter of each number
        first = network.by_name["conv1"].operator
        first.weight.mul_(4)
    path, its = onnx_of(network, files, tmp_path / "other"), tmp_path / "its.json"
    its.write_text('{"scale": 0.25}')
    state = runner.run(
        "distill", engine, PRUNED, teacher=str(path), teacher_preprocess=str(its), alpha=1.0, compare=False, **SETTINGS
    )
    same = runner.run("distill", engine, PRUNED, alpha=1.0, compare=False, **SETTINGS)
    for name, tensor in same.tensors.items():
        assert np.allclose(state.tensors[name], tensor, atol=1e-4)
    its.write_text('{"scale": "much"}')
    with pytest.raises(Refused, match=r"its\.json"):
        runner.run("distill", engine, PRUNED, teacher=str(path), teacher_preprocess=str(its), **SETTINGS)


def test_the_verdict_does_not_claim_what_is_not_shown() -> None:
    better = torch.tensor([0.0] * 100 + [1.0] * 100, dtype=torch.float64)
    worse = torch.tensor([0.0] * 130 + [1.0] * 70, dtype=torch.float64)
    assert "The teacher helps." in verdict(worse, better)["verdict"]
    assert "+15.00 points" in verdict(worse, better)["verdict"]
    assert "harms" in verdict(better, worse)["verdict"]
    assert "not shown" in verdict(better, better)["verdict"]


@pytest.mark.parametrize("job", ["retrain", "distill", "quantization_aware"])
def test_a_factored_output_layer_trains(engine: Engine, runner: Runner, job: str) -> None:
    plan = Plan().with_step("fc", Step("low_rank", keep=0.5)).with_default(Step("quantize"))
    assert "fc" not in engine.variant(plan).network.by_name
    inner = EVERYTHING if job == "distill" else {}
    state = runner.run(job, engine, plan, epochs=1, batch_size=36, **inner)
    trained = replace(plan, state=engine.add_state(state))
    assert engine.unused(trained) == ()
    assert engine.measure(trained).value > engine.measure(plan).value - 0.05
