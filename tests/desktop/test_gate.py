"""The switch of the wake-up gate: off is a threshold of 0, on loses no frame that was measured with an object."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from studio.desktop.attention.panel import NO_GATE, SelectorPanel
from studio.desktop.attention.worker import Measurement


def click(qtbot: QtBot, panel: SelectorPanel) -> None:
    at = QPoint(8, panel.gated.height() // 2)
    qtbot.mouseClick(panel.gated, Qt.MouseButton.LeftButton, pos=at)


def threshold(panel: SelectorPanel) -> int:
    return int(dict(panel.choice().settings).get("threshold", 0))


def choose(panel: SelectorPanel, selector: str) -> None:
    next(b for b in panel.group.buttons() if b.property("selector") == selector).click()


def test_the_gate_is_switched(qtbot: QtBot) -> None:
    panel = SelectorPanel()
    qtbot.addWidget(panel)
    panel.show()
    choose(panel, "edge_density")
    assert not panel.gated.isChecked()
    scores = np.array([300.0, 51.0, 800.0]), np.array([12.0, 70.0])
    panel.show_measurement(Measurement(panel.choice(), {"skipped_rate": 0.0}, *scores))
    click(qtbot, panel)
    assert threshold(panel) == 51  # the lowest score of a frame with an object
    panel.gate.threshold_changed.emit(200)
    click(qtbot, panel)
    assert threshold(panel) == 0
    assert not panel.gated.isChecked()
    click(qtbot, panel)
    assert threshold(panel) == 200  # as before
    panel.gate.threshold_changed.emit(0)  # the line dragged to the very left
    assert not panel.gated.isChecked()
    choose(panel, "centre")
    assert not panel.gated.isEnabled()
    assert panel.gated.toolTip() == NO_GATE
