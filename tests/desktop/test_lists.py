"""Lists below the graph: changed samples, heat map; presets with their tooltips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.plan import Plan, Step
from studio.desktop import presets
from studio.desktop.network.changes import SIDE, pixmap
from studio.engine.sensitivity import CASES

WAIT_MS = 180_000


def test_changes_follow_the_plan(demo: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    panel, session = demo.network.changes, demo.session
    demo.network.lists.setCurrentWidget(panel)
    session.set_plan(Plan(defaults=(Step("quantize", weight_bits=3),)), "3 bit")
    measured(demo)
    qtbot.waitUntil(lambda: panel.changes is not None and panel.changes.plan_key == session.plan.key, timeout=WAIT_MS)
    flips = panel.changes.flips
    result = session.measured[session.plan.key].result
    assert (len(flips.won) - len(flips.lost)) / flips.samples == pytest.approx(result.delta)
    qtbot.waitUntil(lambda: panel.pictures.count() == len(flips.lost), timeout=WAIT_MS)
    first, item = flips.lost[0], panel.pictures.item(0)
    classes = session.data.classes
    assert item.text() == f"{classes[first.before]} → {classes[first.after]}"
    assert first.truth == first.before
    assert not item.icon().isNull()
    assert panel.classes.rowCount() == len(flips.classes)
    panel.kind.setCurrentIndex(1)
    qtbot.waitUntil(lambda: panel.pictures.count() == len(flips.won), timeout=WAIT_MS)
    session.undo()
    measured(demo)
    qtbot.waitUntil(lambda: panel.changes.plan_key == session.plan.key, timeout=WAIT_MS)
    assert not panel.changes.flips.lost  # float against float


def test_pictures_keep_their_pixels() -> None:
    picture = np.zeros((2, 4, 3), np.uint8)
    picture[:, 3] = (255, 0, 0)
    image = pixmap(picture, SIDE).toImage()
    assert (image.width(), image.height()) == (SIDE, SIDE // 2)
    assert image.pixelColor(SIDE - 1, 0).name() == "#ff0000"
    assert image.pixelColor(SIDE // 2, 0).name() == "#000000"
    assert pixmap(np.full((300, 300), 7, np.uint8), SIDE).toImage().pixelColor(3, 3).red() == 7


def test_heat_map_fills_and_is_kept(demo: Any, qtbot: QtBot) -> None:
    heat, session = demo.network.heat, demo.session
    demo.network.lists.setCurrentWidget(heat)
    qtbot.keyClick(demo, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)
    assert demo.network.lists.currentWidget() is heat
    count = len(session.graph.weighted)

    def rows() -> list[Any]:
        return [r for r in session.blame.rows if r.mode == "alone"] if session.blame else []

    qtbot.waitUntil(lambda: {r.case for r in rows()} == set(CASES) and session.lane.wait(0), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: heat._shown is session.blame, timeout=WAIT_MS)
    assert sum(r.case == "int2" for r in rows()) == count
    assert all(r.mode == "alone" for r in session.blame.rows if r.case == "rank 50 %")
    cuts = {r.layer: r for r in rows() if r.case == "channels 30 %"}
    pair = [cuts[name] for name in ("layer2.0.conv2", "layer2.0.shortcut.0")]
    assert pair[0].value == pair[1].value  # one group, one cut
    last = session.graph.weighted[-1].name
    assert last not in cuts
    for i, layer in enumerate(session.graph.weighted):
        for column, case in enumerate(CASES, 1):
            row = session.blame.find(layer.name, case)
            item = heat.table.item(i, column)
            assert item.text() == ("–" if row is None else f"{100 * row.delta:+.2f}".replace("-", "−"))
    assert heat.table.item(count - 1, 6).toolTip() == session.graph.layer(last).uncut  # why it was not measured
    for column, case in enumerate(CASES, 1):  # no word of a title is cut off
        words = [heat.table.horizontalHeader().fontMetrics().horizontalAdvance(word) for word in case.split(" ", 1)]
        assert heat.table.columnWidth(column) > max(words) + 12
    heat.table.setCurrentCell(3, 2)
    assert demo.network.inspector.title.text() == session.graph.weighted[3].name
    session.save()
    from studio.session import autosave

    kept = autosave.load_sensitivity(session.opened)
    assert kept is not None
    assert len(kept["rows"]) == len(session.blame.rows)


def test_presets_say_what_they_do(window: Any) -> None:
    box = window.actions_.preset
    tips = {box.itemText(i): box.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(1, box.count())}
    assert set(tips) == set(presets.names()) >= {"int8", "int4-weights", "deep-compression", "structured-int8"}
    assert tips["int8"] == "All layers: quantize (Q8)"
    assert "nearest rounding stands for it" in tips["int4-weights"]
    assert tips["deep-compression"].count(", then ") == 2
