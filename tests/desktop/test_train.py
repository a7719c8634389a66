"""The Train tab: what would be trained and how long, live curves, pause, cancel, the result by a click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.core import paths, registry
from studio.core.errors import FileError
from studio.core.plan import Plan, Step
from studio.desktop.train.curves import left, ticks
from studio.desktop.train.form import in_order
from studio.desktop.train.run_panel import duration
from studio.jobs._folder import Outcome
from studio.session.autosave import Opened

WAIT_MS = 180_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def demo(window: Any, qtbot: QtBot, open_to_train: Callable[[int], None]) -> Any:
    """The demo with data to train on, a pruned plan, and the Train tab shown."""
    open_to_train(200)
    qtbot.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.AltModifier)
    assert window.tabs.currentWidget() is window.train
    qtbot.waitUntil(window.train.setup.start.isEnabled, timeout=WAIT_MS)
    return window


def test_training_needs_data_and_says_so(window: Any, qtbot: QtBot) -> None:
    folder = paths.resource("demo")
    window.open_model(Opened(str(folder / "parts.onnx"), str(folder / "crops_test.npz"), samples=200))
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: "no training data" in window.train.setup.facts.text(), timeout=WAIT_MS)
    assert not window.train.setup.start.isEnabled()
    assert not window.train.setup.measure.isEnabled()


def test_the_bundled_demo_can_be_trained(window: Any, qtbot: QtBot) -> None:
    window.open_demo()
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(window.train.setup.start.isEnabled, timeout=WAIT_MS)
    assert "216 samples" in window.train.setup.facts.text()


def test_result_is_one_entry_by_click(demo: Any, qtbot: QtBot, measured: Any) -> None:
    train, before = demo.train, demo.session.plan
    measured(demo)
    train.setup.set_value("epochs", 2)
    qtbot.mouseClick(train.setup.start, LEFT)
    qtbot.waitUntil(lambda: train.process is not None, timeout=WAIT_MS)
    qtbot.waitUntil(train.run.apply.isVisible, timeout=WAIT_MS)
    assert train.process.recipe.jobs[0].values.epochs == 2
    assert {3, 6} <= train.run.course.curves["validation"].keys()
    assert not train.run.pause.isVisible()
    assert demo.session.plan == before  # nothing is taken over without the click
    qtbot.mouseClick(train.run.apply, LEFT)
    qtbot.waitUntil(lambda: demo.session.plan.state is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: train.process is None, timeout=WAIT_MS)
    after = demo.session.plan
    measured(demo)
    qtbot.waitUntil(lambda: len(demo.network.tradeoff.arrows) == 1, timeout=WAIT_MS)
    assert [dot.key for dot in demo.network.tradeoff.arrows[0]] == [before.key, after.key]
    demo.undo()
    assert demo.session.plan == before


def in_training(demo: Any, qtbot: QtBot) -> Any:
    """The Train tab with a job that goes on for long."""
    train = demo.train
    train.setup.set_value("epochs", 500)
    qtbot.waitUntil(train.setup.start.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(train.setup.start, LEFT)
    qtbot.waitUntil(lambda: bool(train.run.course.curves.get("loss")), timeout=WAIT_MS)
    return train


def test_job_pauses_goes_on_and_ends(demo: Any, qtbot: QtBot) -> None:
    train = in_training(demo, qtbot)
    assert not train.setup.start.isEnabled()
    qtbot.mouseClick(train.run.pause, LEFT)
    assert train.run.pause.text() == "Go on"
    qtbot.mouseClick(train.run.pause, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "running", timeout=WAIT_MS)
    qtbot.mouseClick(train.run.cancel, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "cancelled", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "Cancelled" in train.run.state.text(), timeout=WAIT_MS)
    train.process.discard()


def test_job_that_failed_for_want_of_room_is_tried_again(demo: Any, qtbot: QtBot) -> None:
    train = in_training(demo, qtbot)
    job, full = train.process, FileError("cannot be written.", where="0.checkpoint", remedy="Free some space.")
    words = {"kind": "FileError", "what": full.what, "where": full.where, "remedy": full.remedy}
    job.folder.finish(Outcome("failed", error=words))
    job.kill()
    qtbot.waitUntil(lambda: "Free some space" in train.run.state.text(), timeout=WAIT_MS)
    assert (train.run.pause.text(), train.run.cancel.text()) == ("Try again", "Discard")
    qtbot.mouseClick(train.run.pause, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "running", timeout=WAIT_MS)
    qtbot.mouseClick(train.run.cancel, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "cancelled", timeout=WAIT_MS)
    train.process.discard()


def test_what_would_be_trained_and_how_long(demo: Any, qtbot: QtBot) -> None:
    setup, timing = demo.train.setup, demo.train.timing
    text = setup.facts.text()  # 240 crops, a tenth of them for validation; 216 // 64 = 3
    assert "Sparsity (P60 %) on 10 layers" in text
    assert "216 samples of crops_calibration.npz, 24 more for validation: 5 epochs of 3 batches" in text
    qtbot.waitUntil(lambda: "Time: about" in setup.time.text(), timeout=WAIT_MS)
    assert "on 3 batches" in setup.time.text()
    setup.set_value("epochs", 1000)
    assert setup.time.text() == "Time: not measured"  # the time of other settings says nothing
    qtbot.waitUntil(lambda: timing.job.busy, timeout=WAIT_MS)
    qtbot.mouseClick(setup.measure, LEFT)
    assert setup.time.text() == "Time: not measured"
    assert not timing.job.busy


def test_settings_that_cannot_be_are_said_before_the_start(demo: Any, qtbot: QtBot) -> None:
    demo.train.setup.set_value("batch_size", 4096)
    qtbot.waitUntil(lambda: "batch_size" in demo.train.setup.facts.text(), timeout=WAIT_MS)
    assert not demo.train.setup.start.isEnabled()


def test_a_teacher_is_a_file_that_is_tried_before_the_start(
    demo: Any, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = demo.train.setup
    setup.job.setCurrentIndex(setup.job.findData("distill"))
    setup.job.activated.emit(setup.job.currentIndex())
    field = setup.form.controls["teacher"]
    qtbot.keyClicks(field.edit, "nowhere.onnx")
    qtbot.keyClick(field.edit, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "nowhere.onnx" in setup.facts.text(), timeout=WAIT_MS)
    assert not setup.start.isEnabled()
    found = str(paths.resource("demo") / "parts.onnx")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (found, ""))
    qtbot.mouseClick(field.choose, LEFT)
    assert setup.recipe.spec.settings == {"teacher": found}
    qtbot.waitUntil(setup.start.isEnabled, timeout=WAIT_MS)


def test_a_recipe_is_made_ordered_and_undone(demo: Any, qtbot: QtBot) -> None:
    setup, session = demo.train.setup, demo.session
    rows = setup.recipe

    def names() -> list[tuple[str, int]]:
        return [(spec.job, spec.values.epochs) for spec in session.plan.jobs]

    setup.set_value("epochs", 3)
    assert session.plan.jobs == ()  # a job alone is no part of the plan
    qtbot.mouseClick(rows.buttons["Add"], LEFT)
    qtbot.mouseClick(rows.buttons["Add"], LEFT)  # a copy of the chosen one
    assert names() == [("retrain", 3), ("retrain", 3)]
    assert rows.row == 2
    for value in (7, 8, 9):
        setup.set_value("epochs", value, final=value == 9)  # one drag
    assert names() == [("retrain", 3), ("retrain", 9)]
    rows.list.setFocus()
    qtbot.keyClick(rows.list, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert names() == [("retrain", 9), ("retrain", 3)]
    assert rows.row == 1
    session.undo()
    session.undo()
    assert names() == [("retrain", 3), ("retrain", 3)]
    qtbot.waitUntil(lambda: rows.list.item(1).text().endswith("3 epochs"), timeout=WAIT_MS)
    qtbot.keyClick(rows.list, Qt.Key.Key_Delete)
    assert names() == [("retrain", 3)]


def test_a_job_keeps_the_steps_of_its_time(demo: Any, qtbot: QtBot) -> None:
    setup, session = demo.train.setup, demo.session
    qtbot.mouseClick(setup.recipe.buttons["Add"], LEFT)
    qtbot.mouseClick(setup.hold, LEFT)
    (job,) = session.plan.jobs
    assert [step.technique for step in job.layers["*"]] == ["prune_weights"]
    session.set_plan(Plan(defaults=(Step("quantize"),), jobs=session.plan.jobs), "later steps")
    qtbot.waitUntil(lambda: "Sparsity (P60 %) on 10 layers" in setup.facts.text(), timeout=WAIT_MS)
    assert "Quantize" not in setup.facts.text()
    qtbot.mouseClick(setup.hold, LEFT)
    assert not session.plan.jobs[0].layers


def test_curves_by_axis_and_durations() -> None:
    assert left("loss without teacher")
    assert not left("validation")
    assert duration(12) == "12 s"
    assert duration(300) == "5 min"
    assert duration(9000) == "2.5 h"


def test_steps_are_written_in_round_numbers() -> None:
    assert list(ticks(15)) == [0, 5, 10]
    assert list(ticks(1050)) == [0, 200, 400, 600, 800]
    assert list(ticks(1)) == [0]


def test_a_jobs_own_settings_come_first() -> None:
    names = [setting.name for setting in in_order("distill")]
    assert names[:2] == ["epochs", "teacher"]
    assert names.index("temperature") < names.index("optimizer")


def test_small_rates_can_be_typed(demo: Any, qtbot: QtBot) -> None:
    from studio.core.settings import declared
    from studio.desktop.network.setting_control import SettingSlider
    from studio.jobs.retrain import RetrainSettings

    made = SettingSlider(next(d for d in declared(RetrainSettings) if d.name == "learning_rate"))
    qtbot.addWidget(made)
    made.set_value(0.01)
    assert made.box.text() == "0.01"
    told: list[float] = []
    made.changed.connect(lambda value, final: told.append(value))
    made.box.editingFinished.emit()  # left without a change
    assert not told
    for typed in ("0.0023", "1e-5", "0,01", "0.00001"):
        made.box.selectAll()
        qtbot.keyClicks(made.box, f"{typed}\r")
    assert told == [0.0023, 1e-5, 0.01, 1e-5]
    made.box.selectAll()
    qtbot.keyClicks(made.box, "7\r")  # above the range: the value from before stays
    assert made.box.text() == "1e-05"
    made.set_value(0.001)
    assert made.slider.value() == pytest.approx(made.slider.maximum() / 2, abs=1)  # half of the decades
    made.slider.setValue(made.slider.maximum())
    assert told[-1] == 1.0


def test_tab_goes_through_the_settings_where_they_stand(demo: Any, qtbot: QtBot) -> None:
    setup = demo.train.setup
    setup.job.setFocus()
    met = []
    for _ in range(100):
        qtbot.keyClick(demo.focusWidget(), Qt.Key.Key_Tab)
        met.append(demo.focusWidget())
        if met[-1] is setup.start:
            break
    names = [w.accessibleName() or w.text() for w in met]
    assert names[0] in ("Measure", "Stop")  # the latter while three batches are timed
    assert names[1].startswith("Epochs")
    assert names[-1] == "Start training"
    assert all(names)
    order = [next(i for i, name in enumerate(names) if title in name) for title in ("Optimizer", "Momentum", "Mixup")]
    assert order == sorted(order)


def test_settings_without_effect_are_grey_and_say_why(demo: Any, qtbot: QtBot) -> None:
    form = demo.train.setup.form
    form.show_job("retrain", registry.find("jobs", "retrain").settings().model_dump())
    assert not form.controls["ramp"].isEnabled()
    assert form.controls["ramp"].toolTip() == "All is pruned before the first step."
    form.controls["schedule"].changed.emit("cubic", True)
    assert form.controls["ramp"].isEnabled()
    assert form.controls["momentum"].isEnabled()
    form.controls["optimizer"].changed.emit("adam", True)
    assert not form.controls["momentum"].isEnabled()


def test_another_network_begins_with_plain_settings(demo: Any) -> None:
    setup = demo.train.setup
    setup.set_value("batch_size", 8)
    assert setup.recipe.spec.values.batch_size == 8
    demo.train.set_session(demo.session)
    assert setup.recipe.spec.values.batch_size == 64
