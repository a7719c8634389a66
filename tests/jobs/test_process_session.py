"""Jobs of a session: signals, the result as an entry of the history, nothing lost by edits or a kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from studio.core import paths, states
from studio.core.errors import FileError, PlanError, Refused
from studio.core.jobspec import JobSpec
from studio.core.plan import Plan, Step
from studio.jobs._folder import Told
from studio.jobs._process import JobProcess
from studio.session import Session, autosave, demo, open_session

pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture
def session(fake: None) -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


def train(session: Session, *specs: JobSpec) -> JobProcess:
    """Start and wait for the signal of the end."""
    ended = Event()
    session.job_finished.connect(ended.set)
    job = session.start_job(*specs)
    assert ended.wait(180)
    return job


def first(session: Session) -> np.ndarray:
    return session.engine.encodings(session.plan)[session.graph.weighted[0].name].decode()


def test_the_result_is_an_entry_of_the_history_when_the_user_wants_it(session: Session) -> None:
    told: list[Told] = []
    session.job_progressed.connect(lambda job, reports: told.extend(reports))
    session.set_step("fc", Step("prune_weights", amount=0.5))
    trained_plan, before = session.plan, first(session)
    job = train(session, JobSpec("fake"))
    assert [t.report.step for t in told] == list(range(1, 41))
    session.set_step("fc", Step("prune_weights", amount=0.7))  # edited meanwhile
    edited = session.plan
    session.jobs.apply(job)
    assert session.plan.state == states.load(str(session.plan.state)).id
    assert session.plan.layers == trained_plan.layers
    assert session.jobs.taken == {session.plan.key: trained_plan.key}  # what the arrow is from, not the edited one
    assert [spec.job for spec in session.plan.jobs] == ["fake"]
    assert not np.array_equal(first(session), before)
    assert session.undo_label == "trained: fake"
    session.undo()
    assert session.plan == edited
    assert np.array_equal(first(session), before)
    session.redo()
    again = train(session, JobSpec("fake", {"seed": 1}))  # goes on from the state
    session.jobs.apply(again)
    assert [dict(spec.settings) for spec in session.plan.jobs] == [{}, {"seed": 1}]
    assert session.jobs.unfinished() == []


def test_a_recipe_of_the_plan_runs_from_its_begin(session: Session) -> None:
    specs = (JobSpec("fake", {"steps": 7}), JobSpec("fake", {"steps": 9}))
    session.set_plan(replace(session.plan, jobs=specs), "recipe")
    session.jobs.apply(train(session))
    done = session.engine.state(session.plan)
    assert done is not None
    assert [job["settings"]["steps"] for job in done.about["jobs"]] == [7, 9]
    session.jobs.apply(train(session))  # once more: the same, not on top
    assert session.plan.state == done.id
    assert [spec.settings["steps"] for spec in session.plan.jobs] == [7, 9]


def test_a_refusal_comes_before_the_start(session: Session) -> None:
    with pytest.raises(Refused, match="told to refuse"):
        session.start_job(JobSpec("fake", {"refuse": True}))
    assert session.jobs.unfinished() == []


def test_a_plan_with_an_unknown_state_is_refused(session: Session) -> None:
    plan = session.plan
    with pytest.raises(PlanError, match="training result"):
        session.set_plan(replace(plan, state="sha256:0"), "x")
    assert session.plan == plan
    with pytest.raises(FileError, match="training result is missing"):
        open_session(session.opened.model, plan=Plan(state="sha256:0"))


def test_after_a_kill_of_the_app_plan_state_and_running_job_come_back(session: Session) -> None:
    session.jobs.apply(train(session, JobSpec("fake")))
    session.cancel()
    session.save()
    running = session.start_job(JobSpec("fake", {"steps": 500, "rest_ms": 10.0}))
    session.lane.wait()  # it saves once more when it has come to rest
    (file,) = paths.user_folder("autosave").glob("*.json")
    gone = 2**22 - 5  # a process that is not there
    file.write_text(json.dumps({**json.loads(file.read_text()), "process": gone}))
    (found,) = autosave.recoverable()
    assert found.plan == session.plan
    other = demo.open_demo(found.plan)
    other.cancel()
    assert np.array_equal(first(other), first(session))
    (job,) = other.jobs.unfinished()
    assert job.status == "running"
    told = Event()
    other.job_progressed.connect(told.set)
    other.jobs.follow(job)
    assert told.wait(180)
    ended = Event()
    other.job_finished.connect(ended.set)
    job.cancel()
    assert ended.wait(180)
    assert running.status == "cancelled"
    assert other.jobs.unfinished() == []
    other.close()
    states._file(str(found.plan.state)).unlink()
    file.write_text(json.dumps({**json.loads(file.read_text()), "process": gone}))
    (found,) = autosave.recoverable()  # without its state the plan is still there
    assert found.plan == replace(session.plan, state=None)


def test_a_session_that_was_closed_leaves_its_plan_and_result(session: Session) -> None:
    session.jobs.apply(train(session, JobSpec("fake")))
    plan = session.plan
    session.close()
    assert autosave.recoverable() == []
    assert autosave.last_plan(session.opened) == plan
    assert plan.state is not None


def test_edits_that_make_training_void_are_told(session: Session) -> None:
    session.jobs.apply(train(session, JobSpec("fake")))
    notices: list[str] = []
    session.notice.connect(lambda notice: notices.append(notice.text))
    session.jobs.say_unused(session.plan)
    assert notices == []
    conv = next(layer for layer in session.graph.weighted if layer.group and layer.name != "fc")
    session.set_step(conv.name, Step("prune_channels", amount=0.5))
    session.jobs.say_unused(session.plan)
    session.jobs.say_unused(session.plan)
    assert len(notices) == 1
    assert "no longer used for" in notices[0]


def test_states_that_nobody_names_go_after_a_week(session: Session) -> None:
    job = train(session, JobSpec("fake"))
    state, other = job.state(), replace(job.state(), ranges={"input": (0.0, 1.0)})
    files = [states.keep(one) for one in (state, other)]
    states.collect([])
    assert all(file.exists() for file in files)
    old = time.time() - states.KEPT_S - 1
    for file in files:
        os.utime(file, (old, old))
    states.collect([state.id])
    assert [file.exists() for file in files] == [True, False]
    assert states.load(state.id).id == state.id
    assert Path(files[0]).stat().st_mtime > old + 1
