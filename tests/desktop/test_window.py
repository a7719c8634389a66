"""The window: opening, notices, undo, themes, recovery; all by clicks and keys."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from studio.core import paths
from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.desktop import theme
from studio.desktop.opening import OpenDialog
from studio.session import autosave
from studio.session.autosave import Opened

LEFT = Qt.MouseButton.LeftButton
WAIT_MS = 180_000


def start_demo(window: Any, qtbot: QtBot) -> None:
    qtbot.mouseClick(window.start.demo_button, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)


def test_none_keeps_its_references(qtbot: QtBot) -> None:
    """PySide6 6.12 aborts Python 3.11: each void Qt call loses one reference to None."""
    from PySide6.QtGui import QPolygonF

    polygon = QPolygonF()
    before = sys.getrefcount(None)
    for _ in range(1000):
        polygon.reserve(4)
    assert sys.getrefcount(None) > before - 500


def test_start_page_comes_without_torch() -> None:
    import subprocess

    code = (
        "import sys\nfrom studio.desktop import window\nfrom studio.desktop.app import make_application\n"
        "app = make_application()\nfrom studio.desktop.notices import Notices\n"
        "w = window.MainWindow(Notices())\nw.show()\nassert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_demo_is_one_click_away(window: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    start_demo(window, qtbot)
    measured(window)
    assert window.stack.currentIndex() == 1
    assert window.budget.gauges["accuracy"].reading.state == "measured"
    assert window.network.inspector.title.text() == "conv1"
    assert window.notice_bar.texts() == []


def test_keys_move_the_selection_and_a_drag_is_one_undo(
    window: Any, qtbot: QtBot, measured: Callable[[Any], None]
) -> None:
    start_demo(window, qtbot)
    qtbot.keyClick(window.network.graph, Qt.Key.Key_Down)
    second = window.session.graph.weighted[1].name
    assert window.network.inspector.title.text() == second
    card = window.network.inspector.cards["quantize"]
    qtbot.mouseClick(card.check, LEFT, pos=_check_point(card))
    assert window.session.plan.steps(second) == (Step("quantize"),)
    slider = card.controls["weight_bits"].slider
    slider.setSliderDown(True)
    for bits in (6, 5, 4):
        slider.setValue(slider.maximum() - (8 - bits))
    slider.setSliderDown(False)
    assert window.session.plan.steps(second) == (Step("quantize", weight_bits=4),)
    qtbot.waitUntil(window.actions_.by_name["undo"].isEnabled)
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.session.plan.steps(second) == (Step("quantize"),)
    window.redo()
    measured(window)
    assert window.network.graph.model.bytes[second] < 4 * window.session.graph.layer(second).parameters / 6


def _check_point(card: Any) -> Any:
    from PySide6.QtCore import QPoint

    return QPoint(8, card.check.height() // 2)


def test_several_layers_at_once_are_one_undo(window: Any, qtbot: QtBot) -> None:
    start_demo(window, qtbot)
    before = window.session.plan
    qtbot.keyClick(window.network.graph, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    card = window.network.inspector.cards["prune_weights"]
    qtbot.mouseClick(card.check, LEFT, pos=_check_point(card))
    assert all(window.session.plan.steps(n.name) for n in window.session.graph.weighted)
    window.undo()
    assert window.session.plan == before


def test_search_finds_a_layer(window: Any, qtbot: QtBot) -> None:
    start_demo(window, qtbot)
    qtbot.keyClick(window.network, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    last = window.session.graph.weighted[-1].name
    qtbot.keyClicks(window.network.search, last)
    assert window.network.inspector.title.text() == last


def test_leave_in_float_keeps_pruning(window: Any, qtbot: QtBot) -> None:
    start_demo(window, qtbot)
    name = window.session.graph.weighted[0].name
    plan = Plan(defaults=(Step("quantize"),)).with_step(name, Step("prune_weights", amount=0.3))
    window.session.set_plan(plan, "plan")
    qtbot.waitUntil(window.network.inspector.float_button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(window.network.inspector.float_button, LEFT)
    assert [s.stage for s in window.session.plan.steps(name)] == [Stage.SPARSE]


def test_bad_file_is_a_notice_and_the_open_model_stays(window: Any, qtbot: QtBot, tmp_path: Path) -> None:
    start_demo(window, qtbot)
    session = window.session
    bad = tmp_path / "bad.onnx"
    bad.write_text("not a network")
    window.open_model(Opened(str(bad)))
    qtbot.waitUntil(lambda: bool(window.notice_bar.texts()), timeout=WAIT_MS)
    assert "bad.onnx" in window.notice_bar.texts()[0]
    assert window.session is session
    assert window.stack.currentIndex() == 1


def test_any_exception_is_a_notice_with_details(window: Any, qtbot: QtBot) -> None:
    window.notices._uncaught(ValueError, ValueError("strange"), None)
    qtbot.waitUntil(lambda: bool(window.notice_bar.texts()))
    assert "strange" in window.notice_bar.texts()[0]
    (line,) = window.notice_bar.lines()
    assert line.notice.detail
    assert [b.text() for b in line.findChildren(QPushButton)] == ["Details"]


def test_wrong_preprocessing_is_said_first(
    window: Any, qtbot: QtBot, measured: Callable[[Any], None], tmp_path: Path
) -> None:
    from studio.session import demo

    data = demo.open_demo()
    data.cancel()
    assert data.data is not None
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    np.savez(path, x=rng.integers(0, 255, (120, 32, 32, 3), dtype=np.uint8), y=rng.integers(0, 6, 120))
    data.close()
    window.open_model(Opened(str(paths.resource("demo") / "parts.onnx"), str(path)))
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    measured(window)
    qtbot.waitUntil(lambda: any("Preprocessing" in text for text in window.notice_bar.texts()), timeout=WAIT_MS)


def test_code_that_was_trusted_once_is_run_again(
    window: Any, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_pictures.py").write_text(
        "import numpy as np\n\ndef made():\n    return np.zeros((40, 32, 32, 3), 'uint8'), np.arange(40) % 6\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = Opened(str(paths.resource("demo") / "parts.onnx"), "own_pictures:made")
    window.open_model(opened)
    qtbot.waitUntil(lambda: any("--trust" in t for t in window.notice_bar.texts()), timeout=WAIT_MS)
    assert window.session is None
    window.open_model(opened, trust=True)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    first = window.session
    again = OpenDialog(first.opened, window, data_only=True).value()
    assert again.data == "own_pictures:made"
    window.open_model(again)
    qtbot.waitUntil(lambda: window.session is not first, timeout=WAIT_MS)


def test_expected_accuracy_far_above_is_said(window: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    folder = paths.resource("demo")
    opened = Opened(str(folder / "parts.onnx"), str(folder / "crops_test.npz"), samples=300, expected=0.999)
    window.open_model(opened)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    measured(window)
    qtbot.waitUntil(lambda: any("99.9 % were expected" in t for t in window.notice_bar.texts()), timeout=WAIT_MS)


def test_no_data_is_said_with_a_way_out(window: Any, qtbot: QtBot) -> None:
    window.open_model(Opened(str(paths.resource("demo") / "parts.onnx")))
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    assert "need data" in window.notice_bar.texts()[0]
    qtbot.waitUntil(lambda: window.budget.gauges["flash"].reading.state == "counted", timeout=WAIT_MS)


def test_what_was_open_comes_back_after_a_kill(window: Any, qtbot: QtBot, home: Path) -> None:
    folder = paths.resource("demo")
    plan = Plan(defaults=(Step("quantize", weight_bits=5),))
    opened = Opened(str(folder / "parts.onnx"), str(folder / "crops_test.npz"), samples=100)
    autosave.save(opened, plan)
    (file,) = (home / "autosave").glob("*.json")
    killed = {**json.loads(file.read_text()), "process": 2**22 + 12345}  # no process has this number
    file.write_text(json.dumps(killed))
    window.offer_recovery()
    (line,) = window.notice_bar.lines()
    restore = next(b for b in line.findChildren(QPushButton) if b.text() == "Restore")
    qtbot.mouseClick(restore, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    assert window.session.plan == plan
    assert window.session.opened.samples == 100


def test_themes_and_presenter_size(window: Any, qtbot: QtBot) -> None:
    from studio.desktop import fonts

    window.set_dark(True)
    assert theme.is_dark()
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    assert app.palette().base().color().name().upper() == theme.DARK.panel
    window.set_presenter(True)
    assert fonts.body().pixelSize() == 20
    window.set_presenter(False)
    window.set_dark(False)
    assert fonts.body().pixelSize() == 13


def test_recent_projects_remember(window: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    from studio.desktop import recents

    start_demo(window, qtbot)
    measured(window)
    window.go_home()
    (recent,) = recents.load()
    assert recent.name == "parts"
    assert recent.value == pytest.approx(0.9589, abs=1e-4)
    assert recent.flash_bytes


def test_a_recent_project_opens_with_the_plan_it_was_left_with(window: Any, qtbot: QtBot) -> None:
    from studio.core.plan import Step
    from studio.desktop import recents

    start_demo(window, qtbot)
    window.session.set_step(window.session.graph.weighted[0].name, Step("quantize", weight_bits=4))
    plan = window.session.plan
    window.go_home()
    (recent,) = recents.load()
    window.start.recent_asked.emit(recent)
    qtbot.waitUntil(lambda: window.session is not None, timeout=20_000)
    assert window.session.plan == plan


def test_a_recent_project_opens_where_its_plan_no_longer_fits(
    window: Any, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.core.plan import Plan, Step
    from studio.desktop import recents
    from studio.session import autosave

    start_demo(window, qtbot)
    window.go_home()
    monkeypatch.setattr(autosave, "last_plan", lambda opened: Plan().with_step("gone", Step("quantize")))
    (recent,) = recents.load()
    window.start.recent_asked.emit(recent)
    qtbot.waitUntil(lambda: window.session is not None, timeout=20_000)
    assert window.session.plan.layers == {}
    assert any("gone" in text for text in window.notice_bar.texts())


def test_every_action_has_a_key_and_a_tooltip(window: Any) -> None:
    keys = [a.shortcut().toString() for a in window.actions_.by_name.values()]
    assert all(keys)
    assert len(set(keys)) == len(keys)
    assert all(a.toolTip() for a in window.actions_.by_name.values())
