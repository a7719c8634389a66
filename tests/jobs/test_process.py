"""A job in a process of its own: started, followed, held, ended, killed; always the same result."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core import paths
from studio.core.errors import Cancelled, DataError, FileError, ModelError, PlanError, Refused, StudioError
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step
from studio.core.state import State
from studio.engine.opening import engine_again
from studio.jobs import _process, _worker
from studio.jobs._folder import JobFolder
from studio.jobs._process import JobProcess, find, find_unfinished, start
from studio.jobs._recipe import Recipe, plan_of, trained

LONG = {"steps": 2000, "rest_ms": 5.0}


def opened(**more: Any) -> Opened:
    folder = paths.resource("demo")
    return Opened(str(folder / "parts.onnx"), str(folder / "crops_calibration.npz"), **more)


def recipe(*settings: dict[str, Any], plan: Plan | None = None) -> Recipe:
    jobs = tuple(JobSpec("fake", s) for s in settings or ({},))
    return Recipe(opened(), plan or Plan(), jobs)


def here(wanted: Recipe, folder: Path, start: State | None = None) -> State:
    """Run in this process, undisturbed, without telling how far it is in time."""
    job = JobFolder(folder)
    job.prepare(wanted, start)
    outcome = _worker.run(job, wanted)
    assert outcome is not None
    outcome.check()
    return State.load(job.state(len(wanted.jobs) - 1))


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def reached(job: JobProcess, step: int) -> Callable[[], bool]:
    return lambda: any(told.report.step >= step for told in job.folder.told()[0])


@pytest.fixture
def running(fake: None) -> Iterator[JobProcess]:
    job = start(recipe(LONG))
    until(reached(job, 3))
    yield job
    job.discard()


@pytest.mark.usefixtures("fake")
def test_a_job_gives_its_state_and_tells_how_far_it_is(tmp_path: Path) -> None:
    job = start(recipe())
    outcome = job.wait(180)
    assert outcome is not None
    assert (outcome.status, job.status) == ("done", "done")
    state = job.state()
    assert state.id == here(recipe(), tmp_path).id
    assert [told.report.step for told in job.reports()] == list(range(1, 41))
    assert job.reports() == []
    (about,) = state.about["jobs"]
    assert (about["job"], about["settings"]["steps"]) == ("fake", 40)
    assert outcome.seconds == (about["seconds"],)
    assert 0 < about["seconds"] < 30
    assert not list(job.folder.path.glob("*.checkpoint"))
    assert [j.folder.path for j in find_unfinished()] == [job.folder.path]
    assert start(job.recipe).state().id == state.id  # ended well and not taken yet: nothing runs again
    assert len(job.folder.told()[0]) == 40
    job.discard()
    assert find_unfinished() == []


@pytest.mark.usefixtures("fake")
def test_kill_9_of_the_worker_and_go_on_to_the_same_result(tmp_path: Path) -> None:
    wanted = recipe({"steps": 120, "rest_ms": 2.0})
    job = start(wanted)
    for step in (12, 57, 91):
        until(reached(job, step))
        job.kill()
        assert job.status == "stopped"
        job.resume()
    assert job.wait(180) is not None
    assert job.state().id == here(wanted, tmp_path).id
    steps = [told.report.step for told in job.reports()]
    again = [i for i in range(1, len(steps)) if steps[i] <= steps[i - 1]]
    assert len(again) <= 3  # a kill right behind a checkpoint costs nothing
    assert all(steps[i - 1] - steps[i] < 5 + 1 for i in again)  # back to the last checkpoint, no further
    assert steps[-1] == 120
    assert list(job.curves()[0, "loss"]) == list(range(1, 121))


@pytest.mark.usefixtures("fake")
def test_a_job_survives_its_app_and_is_found_again(tmp_path: Path) -> None:
    wanted = recipe({"steps": 60, "rest_ms": 5.0})
    app = os.fork()
    if app == 0:
        start(wanted)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(app, 0)
    (job,) = find_unfinished()
    assert job.recipe.id == wanted.id
    assert job.status in ("running", "done")
    assert job.wait(180) is not None
    assert job.state().id == here(wanted, tmp_path).id


def test_pause_holds_the_job_and_resume_goes_on(running: JobProcess) -> None:
    running.pause()
    until(lambda: running.status == "paused")
    time.sleep(0.3)  # the batch that was running ends
    running.reports()
    time.sleep(0.3)
    assert running.reports() == []
    running.resume()
    until(lambda: bool(running.reports()))
    assert running.status == "running"


def test_cancel_ends_it_for_good(running: JobProcess) -> None:
    running.cancel()
    outcome = running.wait(180)
    assert outcome is not None
    assert outcome.status == running.status == "cancelled"
    with pytest.raises(Cancelled):
        running.state()
    again = start(running.recipe)  # begins anew
    until(reached(again, 1))
    assert min(told.report.step for told in again.reports()) == 1


@pytest.mark.usefixtures("fake")
def test_suspend_writes_a_checkpoint_first() -> None:
    job = start(recipe({**LONG, "every": 100_000}))
    until(reached(job, 7))
    job.suspend()
    assert job.status == "stopped"
    last = job.reports()[-1].report.step
    job.resume()
    until(reached(job, last + 1))
    assert job.reports()[0].report.step == last + 1  # nothing was lost
    with pytest.raises(StudioError, match="no result yet"):
        job.state()
    job.discard()


def test_two_jobs_on_one_plan_and_two_on_a_machine_are_refused(
    running: JobProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudioError, match="a job on this plan runs already"):
        start(running.recipe)
    with pytest.raises(StudioError, match="a job on this plan runs already"):
        start(recipe({"steps": 3}))
    other = recipe({"steps": 3}, plan=Plan(defaults=(Step("quantize"),)))
    with pytest.raises(StudioError, match="trains already: fake") as error:
        start(other)
    assert "STUDIO_JOBS=2" in error.value.remedy
    monkeypatch.setenv(_process.AT_ONCE, "2")
    second = start(other)
    assert second.wait(180) is not None
    second.state()
    running.kill()
    monkeypatch.delenv(_process.AT_ONCE)
    start(recipe({"steps": 3})).wait(180)  # the killed one left no lock behind


@pytest.mark.usefixtures("fake")
def test_jobs_of_a_recipe_run_in_order_each_on_the_state_before(tmp_path: Path) -> None:
    wanted = recipe({"steps": 30, "rest_ms": 3.0}, {"steps": 60, "rest_ms": 3.0, "seed": 1})
    one = here(recipe({"steps": 30}), tmp_path / "one")
    two = here(recipe({"steps": 60, "seed": 1}, plan=Plan(state=one.id)), tmp_path / "two", one)
    job = start(wanted)
    until(lambda: any(told.job == 1 and told.report.step > 20 for told in job.folder.told()[0]))
    job.kill()  # in the middle of the second
    job.resume()
    assert job.wait(180) is not None
    assert job.state().id == two.id != one.id
    assert [j["settings"]["seed"] for j in job.state().about["jobs"]] == [0, 1]
    assert trained(wanted, job.state()).jobs == wanted.jobs
    assert [j["settings"]["seed"] for j in two.about["jobs"]] == [0, 1]


@pytest.mark.usefixtures("fake")
def test_a_mistake_ends_the_job_with_its_words_and_the_checkpoint_stays(tmp_path: Path) -> None:
    job = start(recipe({"fail_at": 23}))
    outcome = job.wait(180)
    assert outcome is not None
    assert outcome.status == job.status == "failed"
    with pytest.raises(DataError, match="loss is NaN") as error:
        job.state()
    assert (error.value.where, error.value.remedy) == ("fake", "Lower.")
    assert job.folder.checkpoint(0).exists()
    again = start(job.recipe)  # goes on from the last good checkpoint, and fails again
    again.wait(180)
    assert [told.report.step for told in again.reports()][23:] == [21, 22, 23]


@pytest.mark.usefixtures("fake")
def test_a_fault_is_told_with_the_place_of_its_message() -> None:
    job = start(recipe({"fail_at": 3, "fault": True}))
    job.wait(180)
    with pytest.raises(StudioError, match=r"fault of the studio \(ZeroDivisionError: oops\)") as error:
        job.state()
    assert "ZeroDivisionError" in (job.folder.path / "log").read_text()
    assert str(job.folder.path / "log") in error.value.remedy


@pytest.mark.usefixtures("fake")
def test_a_refusal_names_the_job() -> None:
    job = start(recipe({"refuse": True}))
    job.wait(180)
    with pytest.raises(Refused, match="told to refuse"):
        job.state()


@pytest.mark.usefixtures("fake")
def test_a_full_disk_ends_the_job_with_that_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    real, count = os.fsync, 0

    def full(file: int) -> None:
        nonlocal count
        count += "checkpoint" in os.readlink(f"/proc/self/fd/{file}")
        if count == 3 and "checkpoint" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FileError, match="No space left") as error:
            here(recipe(), tmp_path / "a")
    assert "Free some space" in error.value.remedy
    assert JobFolder(tmp_path / "a").checkpoint(0).exists()
    assert here(recipe(), tmp_path / "a").id == here(recipe(), tmp_path / "b").id  # goes on once there is room


@pytest.mark.usefixtures("fake")
def test_no_worker_is_left_behind_where_its_number_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    real = os.pwrite

    def full(file: int, text: bytes, at: int) -> int:
        if text.isdigit():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, text, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(FileError, match="No space left"):
            _process.start(recipe())
    job = _process.start(recipe())  # neither the plan nor the machine is taken
    assert job.wait(60) is not None
    job.discard()


@pytest.mark.usefixtures("fake")
def test_a_model_in_memory_is_refused_before_the_start() -> None:
    with pytest.raises(ModelError, match="in memory only"):
        start(Recipe(Opened("/nowhere/Module"), Plan(), (JobSpec("fake"),)))
    with pytest.raises(PlanError, match="no job"):
        start(Recipe(opened(), Plan(), ()))


@pytest.mark.usefixtures("fake")
def test_a_recipe_is_the_same_for_the_same_work_only() -> None:
    one = recipe({"steps": 3})
    assert Recipe.from_json(one.to_json()).to_json() == one.to_json()
    others = [
        recipe({"steps": 4}),
        replace(one, threads=2),
        replace(one, opened=opened(train=opened().data)),
        replace(one, plan=Plan(defaults=(Step("quantize"),))),
        replace(one, plan=Plan(state="sha256:1")),
        replace(one, versions={"studio": "other"}),
    ]
    assert len({one.id, *(other.id for other in others)}) == 7
    assert replace(one, plan=Plan(jobs=one.jobs), folder="/", checkpoint_s=1.0).id == one.id
    assert find(one) is None


@pytest.mark.usefixtures("fake")
def test_steps_of_a_job_replace_those_of_the_plan() -> None:
    graph = engine_again(opened()).graph
    prune, grid = Step("prune_weights", amount=0.5), Step("quantize", weight_bits=4)
    plan = Plan(defaults=(grid,), layers={"fc": (Step("prune_weights", amount=0.1),)})
    assert plan_of(plan, JobSpec("fake"), graph, None) == plan
    own = plan_of(plan, JobSpec("fake", {}, {"*": (prune,), "fc": ()}), graph, "sha256:1")
    assert own.state == "sha256:1"
    assert own.steps("fc") == ()
    others = [layer.name for layer in graph.weighted if layer.name != "fc"]
    assert all(own.steps(name) == (prune,) for name in others)
    with pytest.raises(PlanError, match="no layer"):
        plan_of(plan, JobSpec("fake", {}, {"conv9": (prune,)}), graph, None)
    cuts = {"*": (Step("prune_channels", amount=0.5),), "layer1.0.conv2": (Step("prune_channels", amount=0.2),)}
    cut = plan_of(plan, JobSpec("fake", {}, {}, cuts), graph, None)
    assert cut.groups["conv1"][0].settings["amount"] == 0.2  # conv1 and layer1.0.conv2 are added
    assert {step.settings["amount"] for name, (step,) in cut.groups.items() if name != "conv1"} == {0.5}


@pytest.mark.usefixtures("fake")
def test_a_changed_data_file_is_no_longer_the_same_job(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    data.write_bytes(Path(str(opened().data)).read_bytes())
    job = start(replace(recipe(LONG), opened=replace(opened(), data=str(data))))
    until(reached(job, 1))
    job.kill()
    with np.load(data) as file:
        arrays = dict(file)
    np.savez(data, **arrays)
    with pytest.raises(FileError, match="changed since"):
        job.resume()


def test_another_teacher_under_the_same_name_is_other_work(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.onnx"
    teacher.write_bytes(b"one")
    one = Recipe(opened(), Plan(), (JobSpec("distill", {"teacher": str(teacher)}),))
    before = one.id
    teacher.write_bytes(b"another")
    assert replace(one).id != before
