"""Views of the window: keys that work whatever is shown, sizes and themes that fit, numbers that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QInputDialog
from pytestqt.qtbot import QtBot

from studio.core.plan import Plan, Step
from studio.desktop import fonts, theme
from studio.desktop.network.figures import expected
from studio.desktop.network.row_painter import EDGE, LEAST, columns
from studio.session.autosave import Opened
from studio.session.events import Notice

LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier
WAIT_MS = 120_000


@pytest.fixture
def demo(window: Any, qtbot: QtBot) -> Any:
    """The window with the demo open."""
    qtbot.mouseClick(window.start.demo_button, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    return window


def test_blame_by_key_shows_list_and_fills_table(demo: Any, qtbot: QtBot) -> None:
    assert demo.network.lists.currentWidget() is demo.network.table
    qtbot.keyClick(demo, Qt.Key.Key_B, CTRL)
    assert demo.network.lists.currentWidget() is demo.network.blame
    qtbot.waitUntil(lambda: demo.session.blame is not None, timeout=WAIT_MS)
    count = len(demo.session.graph.weighted)

    def told() -> bool:
        return sum(row.points is not None for row in demo.network.table.layers.rows) == count

    qtbot.waitUntil(told, timeout=WAIT_MS)
    worst = demo.session.blame.blame("int4")[0]
    qtbot.waitUntil(lambda: demo.network.blame.table.item(0, 0).text() == worst.layer, timeout=WAIT_MS)


def test_zoom_keys_work_where_the_buttons_are_hidden(demo: Any, qtbot: QtBot) -> None:
    demo.resize(1280, 720)
    assert not demo.network.minimap.isVisible()
    qtbot.keyClick(demo, Qt.Key.Key_Minus, CTRL)
    assert demo.network.graph.zoom == pytest.approx(0.9)
    qtbot.keyClick(demo, Qt.Key.Key_0, CTRL)
    assert demo.network.graph.zoom < 0.9


def test_return_goes_on_to_the_next_match(demo: Any, qtbot: QtBot) -> None:
    qtbot.keyClick(demo, Qt.Key.Key_F, CTRL)
    qtbot.keyClicks(demo.network.search, "shortcut")
    assert demo.network.inspector.title.text() == "layer2.0.shortcut.0"
    qtbot.keyClick(demo.network.search, Qt.Key.Key_Return)
    assert demo.network.inspector.title.text() == "layer3.0.shortcut.0"
    qtbot.keyClicks(demo.network.search, "?")
    assert demo.network.search.toolTip() == "No layer of that name"


def test_limits_can_be_set_by_keys(demo: Any, qtbot: QtBot) -> None:
    gauge = demo.budget.gauges["flash"]

    def answer() -> None:
        asked = cast(QInputDialog, QApplication.activeModalWidget())
        asked.setDoubleValue(30)
        asked.accept()

    QTimer.singleShot(200, answer)
    qtbot.keyClick(gauge, Qt.Key.Key_Return)
    assert demo.budget.limits == {"flash": 30.0}
    assert demo.network.tradeoff.limit == 30 * 1024
    qtbot.waitUntil(lambda: gauge.reading.missed, timeout=WAIT_MS)


def test_export_with_attention_takes_the_open_frames(demo: Any, qtbot: QtBot, tmp_path: Path) -> None:
    qtbot.waitUntil(lambda: demo.attention.frames is not None, timeout=WAIT_MS)
    demo.use_preset("int8")
    demo.tabs.setCurrentIndex(1)
    qtbot.mouseClick(demo.attention.panel.use, LEFT)
    assert demo.session.plan.attention is not None
    demo.export()
    export = demo.findChild(QDialog, "export-dialog")
    export.folder.setText(str(tmp_path / "out"))
    qtbot.waitUntil(lambda: len(export.rows) >= 2, timeout=WAIT_MS)
    with qtbot.waitSignal(export.finished_run, timeout=WAIT_MS) as done:
        qtbot.mouseClick(export.run, LEFT)
    assert {"attention.onnx", "pipeline.onnx"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert done.args[0]["attention"]["files"]
    export.close()


def test_notice_and_effect_follow_the_theme(demo: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    demo.use_preset("int8")
    measured(demo)
    card = demo.network.inspector.cards["quantize"]
    qtbot.waitUntil(lambda: "KiB" in card.effect.text(), timeout=WAIT_MS)
    assert theme.LIGHT.text in card.effect.text()
    demo.notice_bar.show_notice(Notice("error", "strange"))
    (line,) = demo.notice_bar.lines()
    demo.set_dark(True)
    assert theme.DARK.text in card.effect.text()
    qtbot.waitUntil(lambda: line.width() > 100)
    inside = line.grab().toImage().pixelColor(4, line.height() // 2)
    assert inside.name().upper() == theme.DARK.panel
    demo.set_dark(False)


@pytest.mark.parametrize("presenter", [False, True])
def test_nothing_of_the_inspector_is_cut_off(demo: Any, qtbot: QtBot, presenter: bool) -> None:
    demo.resize(1920 if presenter else 1280, 1080 if presenter else 720)
    demo.set_presenter(presenter)
    inspector = demo.network.inspector
    qtbot.waitUntil(lambda: inspector.viewport().width() >= fonts.px(360))
    assert inspector.widget().minimumSizeHint().width() <= inspector.viewport().width()
    demo.set_presenter(False)


def test_small_and_large_again_keeps_the_inspector(demo: Any, qtbot: QtBot) -> None:
    inspector = demo.network.inspector
    for size, width in (((1440, 900), 432), ((1280, 720), 392), ((1440, 900), 432)):
        demo.resize(*size)
        qtbot.waitUntil(lambda width=width: abs(inspector.width() - width) <= 1)


def test_one_stage_holds_one_technique(demo: Any, qtbot: QtBot) -> None:
    demo.use_preset("int8")
    cards, name = demo.network.inspector.cards, demo.session.graph.weighted[0].name
    sharing = cards["share_weights"]
    qtbot.waitUntil(lambda: sharing.check.toolTip().endswith("Takes the place of Quantize."), timeout=WAIT_MS)
    qtbot.mouseClick(sharing.check, LEFT, pos=QPoint(8, sharing.check.height() // 2))
    assert [step.technique for step in demo.session.plan.steps(name)] == ["share_weights"]
    qtbot.waitUntil(lambda: not cards["quantize"].on, timeout=WAIT_MS)
    assert sharing.on
    demo.undo()
    qtbot.waitUntil(lambda: cards["quantize"].on, timeout=WAIT_MS)


def test_recent_step_is_dashed_until_measured(demo: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    measured(demo)
    demo.pause(True)
    name = demo.session.graph.weighted[0].name
    demo.session.set_step(name, Step("quantize", weight_bits=3))
    model = demo.network.graph.model
    qtbot.waitUntil(lambda: len(model.chips(model.rows[model.row_of(name)])) == 1, timeout=WAIT_MS)
    (chip,) = model.chips(model.rows[model.row_of(name)])
    assert (chip.text, chip.dashed) == ("Q3", True)
    demo.pause(False)
    measured(demo)
    qtbot.waitUntil(lambda: not model.chips(model.rows[model.row_of(name)])[0].dashed, timeout=WAIT_MS)


def test_hostile_files_are_notices_and_the_open_model_stays(demo: Any, qtbot: QtBot, shared: Path) -> None:
    session = demo.session
    for file in sorted((shared / "data" / "hostile").iterdir()):
        demo.open_model(Opened(str(file)))
        qtbot.waitUntil(lambda: bool(demo.notice_bar.texts()) and not demo.opener.busy, timeout=WAIT_MS)
        (text,) = demo.notice_bar.texts()
        assert file.name in text
        assert demo.session is session


def test_estimate_counts_from_the_best_known_float_value() -> None:
    session = cast(Any, SimpleNamespace(float_result=SimpleNamespace(value=0.90)))
    guess = cast(Any, SimpleNamespace(value=0.94, delta=-0.02))  # of a table whose few samples gave 0.96
    assert expected(session, guess) == pytest.approx(0.88)
    session.float_result = None
    assert expected(session, guess) == 0.94


def test_columns_of_a_card_stay_apart_at_every_width() -> None:
    for width in range(320, 1600, 40):
        places = sorted(columns(float(width)).values())
        ends = np.array([x + w for x, w in places])
        starts = np.array([x for x, _ in places])
        assert (ends[:-1] <= starts[1:]).all()
        assert ends[-1] <= width
    assert set(columns(EDGE + sum(LEAST.values()))) == set(LEAST)
    assert "importance" not in columns(EDGE + sum(LEAST.values()) - 1)


def test_a_plan_of_a_group_redraws_every_layer(demo: Any) -> None:
    from studio.desktop.network.tab import changed_layers

    names = [layer.name for layer in demo.session.graph.weighted]
    one = Plan().with_step(names[1], Step("quantize"))
    assert changed_layers(demo.session, Plan(), one) == [names[1]]
    assert changed_layers(demo.session, Plan(), Plan().with_step(names[1], Step("low_rank"))) == names
