"""Jobs that were left, which of them the Train tab shows, and what it says of a result; no job runs here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.jobspec import JobSpec
from studio.core.plan import Step
from studio.desktop.train.standing import _said
from studio.jobs import _locks, _process
from studio.jobs._base import Report
from studio.jobs._folder import JobFolder, Outcome, jobs_folder

WAIT_MS = 180_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def demo(window: Any, open_to_train: Callable[[int], None]) -> Any:
    """The demo with data to train on, a pruned plan, and the Train tab shown."""
    open_to_train(50)
    window.tabs.setCurrentWidget(window.train)
    return window


@pytest.fixture
def held() -> Iterator[list[int]]:
    """Locks of jobs, as a worker holds them."""
    files: list[int] = []
    yield files
    for file in files:
        with suppress(OSError):
            os.close(file)


def leave(session: Any, epochs: int, age: float) -> JobFolder:
    """Folder of a job that was begun some seconds ago; nothing works on it."""
    recipe = session.jobs.recipe((JobSpec("retrain", {"epochs": epochs}),))
    folder = JobFolder(jobs_folder() / recipe.id)
    folder.prepare(recipe, None)
    os.utime(folder.path, times=(1e9 - age, 1e9 - age))
    return folder


def done(session: Any, epochs: int, **about: str) -> JobFolder:
    """A job that has ended with a result: the plan's own network, as it is."""
    from studio.jobs._student import Student

    folder = leave(session, epochs, 0)
    jobs = [{"job": "retrain", **about}]
    state = Student(session.engine, folder.recipe().plan, quantized=False).state({"jobs": jobs})
    state.save(folder.state(0))
    folder.finish(Outcome("done", state.id))
    return folder


def epochs(train: Any) -> int | None:
    return None if train.process is None else train.process.recipe.jobs[0].values.epochs


def test_the_running_job_is_shown_then_the_newest(demo: Any, qtbot: QtBot, held: list[int]) -> None:
    train, session = demo.train, demo.session
    running, _, newer = (leave(session, n, age) for n, age in ((1, 30), (2, 20), (3, 10)))
    file = _locks.hold(running.lock)
    assert file is not None
    held.append(file)
    train.set_session(session)
    qtbot.waitUntil(train.run.more.isVisible, timeout=WAIT_MS)
    assert epochs(train) == 1
    assert train.setup.recipe.spec.values.epochs == 1  # as it was started
    assert train.run.more.text().startswith("2 more jobs on this network are left (Retrain, stopped; Retrain, stopped)")
    qtbot.waitUntil(lambda: "216 samples" in train.setup.facts.text(), timeout=WAIT_MS)
    assert not train.setup.start.isEnabled()
    running.finish(Outcome("cancelled"))
    os.close(held.pop())
    qtbot.waitUntil(lambda: epochs(train) == 3, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: train.run.more.text().startswith("1 more job on this network is left"), timeout=WAIT_MS)
    assert train.setup.start.isEnabled()
    qtbot.mouseClick(train.run.cancel, LEFT)
    qtbot.waitUntil(lambda: epochs(train) == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not train.run.more.isVisible(), timeout=WAIT_MS)
    assert newer.outcome() == Outcome("cancelled")


def test_a_job_that_runs_elsewhere_takes_the_place_of_a_stopped_one(demo: Any, qtbot: QtBot, held: list[int]) -> None:
    train, session = demo.train, demo.session
    stopped = leave(session, 2, 10)
    train.set_session(session)
    qtbot.waitUntil(lambda: epochs(train) == 2, timeout=WAIT_MS)
    assert "before its first checkpoint; it begins anew" in train.run.state.text()
    assert not train.run.left.isVisible()
    stopped.checkpoint(0).write_bytes(b"")
    train._show_status()
    assert "it goes on from its checkpoint" in train.run.state.text()
    file = _locks.hold(leave(session, 1, 30).lock)
    assert file is not None
    held.append(file)
    qtbot.waitUntil(train.setup.start.isEnabled, timeout=WAIT_MS)
    train.setup.set_value("epochs", 7)
    qtbot.waitUntil(train.setup.start.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(train.setup.start, LEFT)  # refused: one job trains this plan
    qtbot.waitUntil(lambda: epochs(train) == 1, timeout=WAIT_MS)
    assert train.setup.recipe.spec.values.epochs == 7  # what was typed stays
    assert not train.setup.start.isEnabled()
    qtbot.waitUntil(train.run.more.isVisible, timeout=WAIT_MS)


def test_an_ended_job_says_what_it_did_and_can_be_discarded(demo: Any, qtbot: QtBot) -> None:
    train, session = demo.train, demo.session
    folder = done(session, 1, verdict="The teacher helps.", warning="Training did harm.")
    train.set_session(session)
    qtbot.waitUntil(train.run.warning.isVisible, timeout=WAIT_MS)
    assert train.run.warning.text() == "Training did harm."
    assert train.run.warning.objectName() == "warn"
    assert train.run.verdict.text() == "The teacher helps."
    assert train.run.cancel.text() == "Discard"
    qtbot.mouseClick(train.run.cancel, LEFT)
    assert train.run.state.text() == "No job yet"
    assert not train.run.warning.isVisible()
    assert not folder.path.exists()
    assert _process.find_unfinished() == []


def test_every_job_of_a_recipe_has_its_say() -> None:
    two = [{"job": "retrain", "warning": "Training did harm."}, {"job": "distill", "verdict": "The teacher helps."}]
    assert _said(two, "warning") == "Retrain: Training did harm."
    assert _said(two, "verdict") == "Distill: The teacher helps."
    assert _said(two[:1], "warning") == "Training did harm."
    assert _said(two[:1], "verdict") == ""


def test_the_result_is_said_to_be_in_use_as_long_as_it_is(demo: Any, qtbot: QtBot) -> None:
    train, session, state = demo.train, demo.session, demo.train.run.state
    layers = [layer.name for layer in session.graph.weighted]
    done(session, 1)
    train.set_session(session)
    qtbot.waitUntil(train.run.apply.isVisible, timeout=WAIT_MS)
    qtbot.mouseClick(train.run.apply, LEFT)
    qtbot.waitUntil(lambda: state.text() == "The result is in use; undo takes it back", timeout=WAIT_MS)
    assert demo.notice_bar.texts() == []  # nothing was edited meanwhile
    demo.undo()
    qtbot.waitUntil(lambda: state.text() == "The result is not in use", timeout=WAIT_MS)
    demo.redo()
    qtbot.waitUntil(lambda: state.text() == "The result is in use; undo takes it back", timeout=WAIT_MS)
    session.set_step(layers[0], Step("prune_weights", amount=0.3))
    qtbot.waitUntil(lambda: state.text() == "The result is in use", timeout=WAIT_MS)  # undo takes back the edit
    qtbot.mouseClick(train.setup.recipe.buttons["Add"], LEFT)
    qtbot.waitUntil(lambda: state.text() == "The result is not in use", timeout=WAIT_MS)


def test_what_a_result_puts_aside_is_named(demo: Any, qtbot: QtBot) -> None:
    train, session = demo.train, demo.session
    layers = [layer.name for layer in session.graph.weighted]
    done(session, 1)
    train.set_session(session)
    qtbot.waitUntil(train.run.apply.isVisible, timeout=WAIT_MS)
    session.apply(layers[:2], Step("prune_weights", amount=0.3))
    train.setup.set_value("epochs", 2)
    qtbot.mouseClick(train.setup.recipe.buttons["Add"], LEFT)
    edited = session.plan
    qtbot.mouseClick(train.run.apply, LEFT)
    wanted = "What is different now (2 layers, the recipe) is put aside; undo brings it back."
    qtbot.waitUntil(lambda: any(wanted in text for text in demo.notice_bar.texts()), timeout=WAIT_MS)
    assert session.plan.state is not None
    demo.undo()
    assert session.plan == edited


def test_the_start_page_says_that_a_job_runs(demo: Any, qtbot: QtBot, held: list[int]) -> None:
    running = leave(demo.session, 8, 0)
    running.tell(0, Report(2, 8, 1, {"loss": 1.0}))
    leave(demo.session, 9, 0)  # stopped
    file = _locks.hold(running.lock)
    assert file is not None
    held.append(file)
    demo.go_home()
    line = demo.start.training
    qtbot.waitUntil(line.isVisible, timeout=WAIT_MS)
    assert line.text() == "A training job is under way: parts, Retrain, running, 25 %. Open the network to see it."
    os.close(held.pop())
    qtbot.waitUntil(lambda: not line.isVisible(), timeout=WAIT_MS)
