"""Recipes on a Dask cluster: the same results as one after the other, also when a process is killed."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from studio.cli.main import run
from studio.core import paths
from studio.core.errors import FileError, Refused, StudioError
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step
from studio.core.state import State
from studio.jobs import _cluster, _worker
from studio.jobs._cluster import run_many
from studio.jobs._folder import JobFolder, Told
from studio.jobs._recipe import Recipe

distributed = pytest.importorskip("distributed", reason="!!! no package 'distributed': the cluster is NOT tested")
DEMO = paths.resource("demo")
# Dask's own comms and logs warn at the end of a process; what is tested here is the results.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def recipe(plan: Plan | None = None, **settings: Any) -> Recipe:
    train = str(DEMO / "crops_calibration.npz")
    return Recipe(
        Opened(str(DEMO / "parts.onnx"), train=train), plan or Plan(), (JobSpec("retrain", {"epochs": 1, **settings}),)
    )


def here(recipe: Recipe, folder: Path, start: State | None = None) -> State:
    """Run in this process."""
    job = JobFolder(folder)
    job.prepare(recipe, start)
    outcome = _worker.run(job, recipe)
    assert outcome is not None
    outcome.check()
    return State.load(job.state(len(recipe.jobs) - 1))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two processes of one thread each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as made:
            yield made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """Each plan and seed trained in this process, one after the other."""
    folder = tmp_path_factory.mktemp("alone")
    return {name: here(one, folder / name) for name, one in THREE.items()}


THREE = {
    "float": recipe(),
    "seed": recipe(seed=1),
    "pruned": recipe(Plan(defaults=(Step("prune_weights", amount=0.5),))),
}


def test_three_side_by_side_are_those_of_one_after_the_other(cluster: Any, alone: dict[str, State]) -> None:
    told: list[tuple[int, int]] = []
    found = run_many(list(THREE.values()), cluster, progress=lambda title, done, total: told.append((done, total)))
    assert [state.id for state in found] == [state.id for state in alone.values()]
    assert len({state.id for state in found}) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_reports_of_every_recipe_are_told_on_the_way(cluster: Any) -> None:
    heard: dict[int, list[Told]] = {0: [], 1: []}
    recipes = [recipe(seed=seed, epochs=25) for seed in (0, 1)]
    run_many(recipes, cluster, listener=lambda place, told: heard[place].append(told))
    for told in heard.values():
        assert told
        assert {one.report.steps for one in told} == {25 * 3}  # 216 samples are 3 batches
        assert told[-1].report.values.keys() <= {"loss", "validation"}


def test_who_stops_waiting_ends_the_trials_there(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Event()

    def interrupted(*_: Any) -> None:
        assert heard.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(_cluster, "_gathered", interrupted)
    with distributed.Client(cluster, set_as_default=False) as client:
        with pytest.raises(KeyboardInterrupt):
            run_many([recipe(epochs=1000)], cluster, listener=lambda *_: heard.set())
        end = time.monotonic() + 30
        while any(client.run(busy).values()):
            assert time.monotonic() < end
            time.sleep(0.2)


def busy(dask_worker: Any) -> int:
    """In a process of the cluster: number of trials that run."""
    return len(dask_worker.active_threads)


def test_a_killed_process_changes_nothing(cluster: Any, alone: dict[str, State]) -> None:
    found: list[State] = []
    runner = Thread(target=lambda: found.extend(run_many([THREE["pruned"]], cluster.scheduler_address)))
    with distributed.Client(cluster, set_as_default=False) as client:
        runner.start()
        tasks: dict[str, Any] = {}
        end = time.monotonic() + 30
        while not any(tasks.values()):  # until a process has begun a trial
            assert time.monotonic() < end
            tasks = client.processing()
        address = next(name for name, own in tasks.items() if own)
        pid = _pid(client, address)
        os.kill(pid, signal.SIGKILL)
        runner.join(60)
    assert [state.id for state in found] == [alone["pruned"].id]


def _pid(client: Any, address: str) -> int:
    found: int = client.run(os.getpid, workers=[address])[address]
    return found


def test_a_state_to_start_from_travels_along(cluster: Any, alone: dict[str, State], tmp_path: Path) -> None:
    start = alone["seed"]
    wanted = recipe(Plan(state=start.id))
    (found,) = run_many([wanted], cluster, states={start.id: start})
    assert found.id == here(wanted, tmp_path / "a", start).id
    assert [job["settings"]["seed"] for job in found.about["jobs"]] == [1, 0]


def test_what_goes_wrong_there_is_raised_here(cluster: Any) -> None:
    away = replace(recipe(), opened=Opened("/nowhere/model.onnx"))
    with pytest.raises(FileError, match=r"/nowhere/model\.onnx"):
        run_many([away], cluster)
    with pytest.raises(Refused, match="training"):
        run_many([replace(recipe(), opened=Opened(str(DEMO / "parts.onnx")))], cluster)


def test_compress_trains_on_a_cluster(
    cluster: Any, alone: dict[str, State], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, train = str(DEMO / "crops_test.npz"), str(DEMO / "crops_calibration.npz")
    given = ["compress", str(DEMO / "parts.onnx"), "--data", data, "--train-data", train, "--samples", "50", "--json"]
    jobs = ["--set", "fc:float", "--retrain", "1", "--threads", "1", "--cluster", cluster.scheduler_address]
    assert run([*given, *jobs, "--format", "safetensors", "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [job["job"] for job in found["jobs"]] == ["retrain"]
    weights = load_file(found["exports"][0]["path"])
    assert np.array_equal(weights["fc.weight"], alone["float"].tensors["fc.weight"])


def test_no_cluster_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cluster, "PATIENCE_S", 0.2)
    with pytest.raises(StudioError, match="no cluster answers") as error:
        run_many([recipe()], "tcp://127.0.0.1:9")
    assert "dask scheduler" in error.value.remedy
