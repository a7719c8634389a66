"""Students of distillation: narrower copies, from the most important channels or drawn anew, and other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import PlanError, Refused
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step
from studio.core.settings import validate
from studio.core.state import State
from studio.engine.engine import Engine
from studio.jobs import _worker
from studio.jobs._folder import JobFolder
from studio.jobs._fresh import draw
from studio.jobs._narrower import narrowed
from studio.jobs._recipe import Recipe, plan_of
from studio.jobs._trainable import Trainable
from studio.jobs.distill import DistillSettings
from studio.network.network import Network
from studio.session import open_session
from tests.jobs.training.conftest import Killed, Memory, Runner, engine_of, killer, often, samples, small_network
from tests.jobs.training.test_distill import onnx_of

SETTINGS = {"epochs": 2, "batch_size": 54, "learning_rate": 0.02}
HALF = {"width": 0.5}


def settings(**changed: Any) -> DistillSettings:
    return validate(DistillSettings, changed, "distill")


def cut(**changed: Any) -> Plan:
    return narrowed(Plan(), [settings(**changed)])


def kept(engine: Engine, plan: Plan) -> Mapping[str, int]:
    return {name: int(flags.sum()) for name, flags in engine.kept(plan).items()}


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"width": 0.5}, 4), ({"width": 0.3}, 3), ({"width": 0.05}, 1), ({"width": 0.9}, 8), ({"width": 0.87}, 7),
        ({"width": 0.05, "minimum": 6}, 6), ({"width": 0.3, "multiple": 4}, 4), ({"width": 0.6, "multiple": 4}, 8),
    ],
)  # fmt: skip
def test_every_group_keeps_the_width_of_its_eight_channels(engine: Engine, changed: dict[str, Any], left: int) -> None:
    assert kept(engine, cut(**changed, start="fresh")) == {"conv1": left, "conv3": left}


def test_a_width_takes_the_place_of_cuts_and_leaves_what_is_switched_off(engine: Engine) -> None:
    own = Plan().with_default(Step("quantize")).with_group_step("conv1", Step("prune_channels", amount=0.2))
    found = narrowed(own, [settings(**HALF)])
    assert kept(engine, found) == {"conv1": 4, "conv3": 4}
    assert found.steps("conv1")[-1] == Step("quantize")
    off = narrowed(own.with_group_step("conv1", Step.off("STRUCTURE")), [settings(**HALF)])
    assert kept(engine, off) == {"conv3": 4}
    assert narrowed(own, [settings(), None]) is own


def test_a_training_result_stays_only_with_its_own_cut() -> None:
    plan = replace(Plan(), state="sha256:1")
    narrow = narrowed(plan, [settings(**HALF)])
    assert narrow.state is None
    trained = replace(narrow, state="sha256:2")
    assert narrowed(trained, [settings(**HALF)]) is trained
    assert narrowed(trained, [settings(width=0.25)]).state is None


def test_the_cut_holds_under_steps_of_the_job_itself_and_for_the_jobs_after_it(engine: Engine) -> None:
    zeros = {"*": (Step("prune_weights", amount=0.5),)}
    recipe = Recipe(Opened("x.onnx"), Plan(), (JobSpec("distill", HALF, zeros), JobSpec("retrain")))
    plans = [plan_of(recipe.plan, spec, engine.graph, None) for spec in recipe.jobs]
    assert [kept(engine, plan) for plan in plans] == [{"conv1": 4, "conv3": 4}] * 2
    assert plans[0].layers["conv2"] == zeros["*"]
    assert Recipe.from_json(recipe.to_json()).id == recipe.id


def test_a_narrower_copy_learns_and_is_a_state_of_the_plan_with_its_cut(engine: Engine, runner: Runner) -> None:
    state = runner.run("distill", engine, Plan(), **SETTINGS, **HALF)
    shapes = {name: tensor.shape for name, tensor in state.tensors.items() if name.endswith(".weight")}
    assert shapes == {"conv1.weight": (4, 1, 3, 3), "conv2.weight": (4, 4, 3, 3), "conv3.weight": (4, 4, 3, 3),
                      "fc.weight": (4, 4)}  # fmt: skip
    plan = replace(cut(**HALF), state=engine.add_state(state))
    assert engine.unused(plan) == ()
    assert engine.cost(plan).macs == 64 * 9 * (4 + 16 + 16) + 16
    assert engine.measure(plan).value > engine.measure(cut(**HALF)).value
    assert state.about["without"] == Runner().run("retrain", engine, cut(**HALF), **SETTINGS).about["curve"]


def test_important_channels_begin_better_than_fresh_ones(engine: Engine, runner: Runner) -> None:
    first = {}
    for start in ("important", "fresh"):
        state = runner.run("distill", engine, Plan(), epochs=1, batch_size=54, start=start, **HALF)
        first[start] = state.about["without"][1]["loss"]
    assert first["important"] < first["fresh"]


def test_a_fresh_student_has_nothing_of_the_network_and_all_of_the_seed(
    engine: Engine, files: dict[str, Path], runner: Runner
) -> None:
    other = engine_of(small_network(seed=9), files)
    given: dict[str, Any] = {**SETTINGS, **HALF, "start": "fresh", "alpha": 0.0, "compare": False}
    one, two, third = (
        runner.run("distill", e, Plan(), **given, seed=s) for e, s in ((engine, 1), (other, 1), (engine, 2))
    )
    assert all(np.array_equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    assert not np.array_equal(one.tensors["conv1.weight"], third.tensors["conv1.weight"])


def test_fresh_channels_have_mean_0_and_deviation_1_on_pictures_of_any_size() -> None:
    model = Trainable(small_network())
    x = 90 + 30 * torch.from_numpy(samples(200, 4)[0])
    draw(model, x, 3)
    names = ("conv1", "conv2", "conv3", "fc")
    values = model(x, names)
    for name in names:
        rows = values[name].movedim(1, 0).flatten(1)
        assert torch.allclose(rows.mean(1), torch.zeros(len(rows)), atol=1e-3), name
        assert torch.allclose(rows.std(1), torch.ones(len(rows)), atol=1e-3), name


@pytest.mark.parametrize("at", [4, 25])
def test_a_killed_fresh_run_gives_the_same_result(engine: Engine, at: int) -> None:
    given = {**SETTINGS, **HALF, "start": "fresh", "relations": 1.0}
    wanted = Runner().run("distill", engine, Plan(), **given)
    memory = Memory(often(at))
    with pytest.raises(Killed):
        Runner().run("distill", engine, Plan(), memory, killer(at), **given)
    assert Runner().run("distill", engine, Plan(), memory, **given).id == wanted.id


@pytest.mark.parametrize("step", [Step("prune_weights", amount=0.5), Step("quantize"), Step("share_weights")])
def test_fresh_weights_under_decisions_on_others_are_refused(engine: Engine, runner: Runner, step: Step) -> None:
    with pytest.raises(Refused, match=f"{step.technique} has decided by the old ones") as caught:
        runner.run("distill", engine, Plan().with_default(step), start="fresh", **SETTINGS)
    assert "important" in str(caught.value)
    assert runner.reports == []


def test_jobs_that_would_each_begin_anew_are_refused() -> None:
    one, other = settings(width=0.5), settings(width=0.25)
    assert narrowed(Plan(), [one, one]) == narrowed(Plan(), [one])
    for jobs in ([one, other], [one, settings(width=0.5, start="fresh")]):
        with pytest.raises(PlanError, match="different ways"):
            narrowed(Plan(), jobs)


@pytest.mark.parametrize("width", [0.0, 0.04, 1.5, float("nan")])
def test_a_width_that_cannot_be_is_refused(width: float) -> None:
    with pytest.raises(PlanError, match="width"):
        JobSpec("distill", {"width": width})


def test_in_a_session_the_copy_can_be_undone_exported_and_repeated_from_its_file(
    network: Network, files: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx_of(network, files, tmp_path / "model")
    session = open_session(model, files["evaluation"], train=files["train"])
    before = session.graph.macs
    specs = (JobSpec("distill", {**SETTINGS, **HALF, "compare": False}), JobSpec("retrain", {**SETTINGS, "epochs": 1}))
    recipe, folder = session.jobs.recipe(specs), JobFolder(tmp_path / "job")
    folder.prepare(recipe, None)
    _worker.run(folder, recipe)  # as the process of a job does
    session.jobs.take(recipe, State.load(folder.state(1)))
    plan = session.plan
    assert session.engine.unused(plan) == ()  # retrain went on from what distill left
    assert session.engine.cost(plan).macs == 64 * 9 * (4 + 16 + 16) + 16
    session.export(tmp_path / "out", formats=["onnx-float"])
    again = open_session(tmp_path / "out" / "model-float.onnx")
    assert again.graph.layer("conv2").weight_shape == (4, 4, 3, 3)
    file = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert [spec.job for spec in file.jobs] == ["distill", "retrain"]
    session.undo()
    assert session.engine.cost(session.plan).macs == before
    session.set_plan(file, "file")
    assert session.jobs.recipe().id == recipe.id  # the file's jobs from their begin: the same work
    again.close()
    session.close()


def test_a_file_of_another_architecture_learns_as_the_model_with_the_original_as_teacher(
    network: Network, files: dict[str, Path], runner: Runner, tmp_path: Path
) -> None:
    student = engine_of(small_network(channels=5), files)
    original = onnx_of(network, files, tmp_path / "original")
    state = runner.run("distill", student, Plan(), teacher=str(original), compare=False, hints=1.0, **SETTINGS)
    assert state.tensors["conv2.weight"].shape == (5, 5, 3, 3)
    plan = Plan(state=student.add_state(state))
    assert student.measure(plan).value > student.measure(Plan()).value
    assert "open its file as the model" in DistillSettings.model_fields["teacher"].description
    with pytest.raises(PlanError, match="student"):
        JobSpec("distill", {"student": str(original)})
