"""`compress` with training jobs: run, told, named in the answer; Ctrl-C and the same command again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.cli import _jobs
from studio.cli.main import run
from studio.core import paths
from studio.core.plan import Plan
from studio.jobs import _process
from studio.jobs._process import JobProcess, find_unfinished

pytestmark = pytest.mark.usefixtures("fake")
DEMO = paths.resource("demo")


def compress(capsys: pytest.CaptureFixture[str], out: Path, *more: object) -> tuple[int, dict[str, Any], str]:
    given = ["compress", DEMO / "parts.onnx", "--data", DEMO / "crops_test.npz", "--samples", 60, "--format", "onnx"]
    code = run([str(a) for a in (*given, "--out", out, "--json", *more)])
    found = capsys.readouterr()
    return code, json.loads(found.out) if found.out else {}, found.err


def test_jobs_run_before_the_export_and_the_plan_repeats_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = ("--job", "fake(steps=60)", "--job", "fake(steps=30,seed=1)", "--threads", 1)
    code, found, err = compress(capsys, tmp_path / "a", "--preset", "int8", *jobs)
    assert code == 0
    assert [(job["job"], job["settings"]["steps"]) for job in found["jobs"]] == [("fake", 60), ("fake", 30)]
    assert all(job["seconds"] > 0 for job in found["jobs"])
    assert "fake (2 of 2): loss" in err
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["jobs"] == found["jobs"]
    assert [dict(spec.settings) for spec in Plan.load(tmp_path / "a" / "plan.json").jobs] == [
        {"steps": 60},
        {"steps": 30, "seed": 1},
    ]
    assert find_unfinished() == []
    compress(capsys, tmp_path / "b", "--plan", tmp_path / "a" / "plan.json", "--threads", 1)
    untrained = compress(capsys, tmp_path / "c", "--preset", "int8")[1]
    files = [(tmp_path / name / "model.onnx").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]
    assert untrained["jobs"] == []


def test_ctrl_c_keeps_the_checkpoint_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--preset", "int8", "--job", "fake(steps=200,rest_ms=2.0)")
    real = JobProcess.wait

    def interrupted(job: JobProcess, timeout: float | None = None) -> None:
        while not any(told.report.step > 20 for told in job.folder.told()[0]):
            real(job, 0.01)
        monkeypatch.setattr(JobProcess, "wait", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(JobProcess, "wait", interrupted)
    code, found, err = compress(capsys, tmp_path / "a", *command)
    assert (code, found) == (130, {})
    assert "the same command goes on" in err
    (left,) = find_unfinished()
    assert left.status == "stopped"
    last = left.reports()[-1].report.step
    assert 20 < last < 200
    assert not (tmp_path / "a").exists()
    firsts: list[int] = []
    follow = _jobs._follow

    def look(job: JobProcess, progress: Any) -> None:
        job.wait(180)
        firsts.extend(told.report.step for told in job.folder.told()[0])
        follow(job, progress)

    monkeypatch.setattr(_jobs, "_follow", look)
    assert compress(capsys, tmp_path / "a", *command)[0] == 0
    assert firsts == list(range(1, 201))  # from where it was, no step twice
    monkeypatch.setattr(_jobs, "_follow", follow)
    assert compress(capsys, tmp_path / "b", *command)[0] == 0
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()


def _taken(job: JobProcess) -> None:
    job.wait(60)
    job.discard()


@pytest.mark.parametrize(
    ("end", "words"), [(JobProcess.kill, "ended from outside"), (_taken, "another command has taken its result")]
)
def test_a_job_that_is_gone_says_why_and_how_to_go_on(
    end: Callable[[JobProcess], None], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = _process.start

    def started(recipe: Any) -> JobProcess:
        job = real(recipe)
        end(job)
        return job

    monkeypatch.setattr(_process, "start", started)
    code, _, err = compress(capsys, tmp_path / "a", "--preset", "int8", "--job", "fake")
    assert code == 2
    assert words in err
    assert "same command" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--job", "fke"], ["fke", "fake"]),
        (["--job", "fake(steps=0)"], ["steps", "1 to 100000"]),
        (["--threads", 2], ["--threads", "--retrain"]),
        (["--job", "fake", "--threads", 0], ["--threads 0"]),
        (["--job", "fake", "--threads", 9999], ["--threads 9999", "the cores of this machine"]),
        (["--cluster", "tcp://x:1"], ["--cluster", "--job"]),
        (["--job", "fake(refuse=true)"], ["fake", "told to refuse"]),
        (["--retrain", 0], ["epochs", "1 to 1000"]),
        (["--retrain", 2], ["retrain", "training"]),
    ],
)
def test_flags_that_do_not_fit(
    more: list[object], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = compress(capsys, tmp_path / "out", "--preset", "int8", *more)
    assert code == 2
    for word in words:
        assert word in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_retrain_sets_the_epochs_of_the_plans_own_retraining() -> None:
    import argparse

    from studio.core.jobspec import JobSpec
    from studio.core.step import Step

    args = argparse.Namespace(retrain=3, job=["fake(steps=2)"], threads=None, cluster=None)
    own = JobSpec("retrain", {"epochs": 9, "seed": 4}, {"*": (Step("prune_weights"),)})
    plan = _jobs.with_jobs(Plan(jobs=(JobSpec("fake"), own)), args)
    assert [(s.job, dict(s.settings)) for s in plan.jobs] == [
        ("fake", {}),
        ("retrain", {"epochs": 3, "seed": 4}),
        ("fake", {"steps": 2}),
    ]
    assert plan.jobs[1].layers == own.layers
    assert [s.job for s in _jobs.with_jobs(Plan(), args).jobs] == ["retrain", "fake"]


def test_a_result_waits_until_it_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--preset", "int8", "--job", "fake(steps=30)")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    assert compress(capsys, tmp_path / "a", *command)[0] == 2
    (left,) = find_unfinished()
    assert left.status == "done"
    monkeypatch.setattr(_process, "_begin", None)  # nothing is trained again
    assert compress(capsys, tmp_path / "a", *command, "--force")[0] == 0
    assert find_unfinished() == []


def test_ctrl_c_on_a_cluster_says_that_nothing_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.jobs import _cluster

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_cluster, "run_many", stopped)
    code, _, err = compress(capsys, tmp_path / "a", "--preset", "int8", "--job", "fake", "--cluster", "tcp://x:1")
    assert code == 130
    assert "it would begin anew" in err
