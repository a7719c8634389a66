"""The Train tab: what would be trained, live curves, pause, cancel, the result by a click."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core import paths
from studio.core.plan import Plan, Step
from studio.desktop.train.curves import left
from studio.desktop.train.tab import duration
from studio.session.autosave import Opened

WAIT_MS = 180_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def demo(window: Any, qtbot: QtBot) -> Any:
    """The demo with data to train on, a pruned plan, and the Train tab shown."""
    folder = paths.resource("demo")
    few = str(folder / "crops_calibration.npz")
    opened = Opened(str(folder / "parts.onnx"), str(folder / "crops_test.npz"), calibration=few, train=few, samples=200)
    window.open_model(opened, Plan(defaults=(Step("prune_weights", amount=0.6),)))
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.AltModifier)
    assert window.tabs.currentWidget() is window.train
    qtbot.waitUntil(window.train.start.isEnabled, timeout=WAIT_MS)
    return window


def test_training_needs_data_and_says_so(window: Any, qtbot: QtBot) -> None:
    window.open_demo()
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "no training data" in window.train.facts.text(), timeout=WAIT_MS)
    assert not window.train.start.isEnabled()


def test_result_is_one_entry_by_click(demo: Any, qtbot: QtBot) -> None:
    train, before = demo.train, demo.session.plan
    assert "240 samples" in train.facts.text()
    train._set("epochs", 2)
    qtbot.mouseClick(train.start, LEFT)
    qtbot.waitUntil(lambda: train.process is not None, timeout=WAIT_MS)
    qtbot.waitUntil(train.apply.isVisible, timeout=WAIT_MS)
    assert train.process.recipe.jobs[0].values.epochs == 2
    assert len(train.curves["validation"]) == 2
    assert not train.pause.isVisible()
    assert demo.session.plan == before  # nothing is taken over without the click
    qtbot.mouseClick(train.apply, LEFT)
    qtbot.waitUntil(lambda: demo.session.plan.state is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: train.process is None, timeout=WAIT_MS)
    demo.undo()
    assert demo.session.plan == before


def test_job_pauses_goes_on_and_ends(demo: Any, qtbot: QtBot) -> None:
    train = demo.train
    train._set("epochs", 500)
    qtbot.mouseClick(train.start, LEFT)
    qtbot.waitUntil(lambda: bool(train.curves.get("loss")), timeout=WAIT_MS)
    assert not train.start.isEnabled()
    qtbot.mouseClick(train.pause, LEFT)
    assert train.pause.text() == "Go on"
    qtbot.mouseClick(train.pause, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "running", timeout=WAIT_MS)
    qtbot.mouseClick(train.cancel, LEFT)
    qtbot.waitUntil(lambda: train.process.status == "cancelled", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "Cancelled" in train.state.text(), timeout=WAIT_MS)
    train.process.discard()


def test_settings_that_cannot_be_are_said_before_the_start(demo: Any, qtbot: QtBot) -> None:
    demo.train._set("batch_size", 4096)
    qtbot.waitUntil(lambda: "batch_size" in demo.train.facts.text(), timeout=WAIT_MS)
    assert not demo.train.start.isEnabled()


def test_curves_by_axis_and_durations() -> None:
    assert left("loss without teacher")
    assert not left("validation")
    assert duration(12) == "12 s"
    assert duration(300) == "5 min"
    assert duration(9000) == "2.5 h"


def test_small_rates_can_be_typed(demo: Any, qtbot: QtBot) -> None:
    from studio.core.settings import declared
    from studio.desktop.network.setting_control import SettingSlider
    from studio.jobs.retrain import RetrainSettings

    made = SettingSlider(next(d for d in declared(RetrainSettings) if d.name == "learning_rate"))
    qtbot.addWidget(made)
    made.set_value(0.01)
    assert made.box.text() == "0.0100"
    told: list[float] = []
    made.changed.connect(lambda value, final: told.append(value))
    made.box.editingFinished.emit()  # left without a change
    assert not told
    made.box.setValue(0.0023)
    made.box.editingFinished.emit()
    assert told == [0.0023]
