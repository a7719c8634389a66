"""Axes of the training's curves: round values, labels that fit and differ."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFontMetricsF
from pytestqt.qtbot import QtBot

from studio.desktop import fonts
from studio.desktop.app import make_application
from studio.desktop.scale import labels, round_values
from studio.desktop.train.course import Course
from studio.desktop.train.curves import LEFT, RIGHT, CurvePlot


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 0.94, "0 0.2 0.4 0.6 0.8"),
        (0, 60, "0 20 40 60"),
        (0, 12962, "0 5k 10k"),
        (0, 2.4e6, "0 0.5M 1.0M 1.5M 2.0M"),
        (0, 1.6e26, "0 5e25 1e26 1.5e26"),
        (0, 6.8e-9, "0 2e-9 4e-9 6e-9"),
        (98.2, 98.7, "98.2 98.3 98.4 98.5 98.6 98.7"),
        (98.93, 99.03, "98.94 98.96 98.98 99.00 99.02"),
    ],
)
def test_values_are_round_and_told_apart(low: float, high: float, wanted: str) -> None:
    assert labels(round_values(low, high)) == wanted.split()


@pytest.mark.parametrize("top", [3.7 * 10.0**power for power in (-30, -9, -4, -2, 0, 3, 4, 5, 7, 9, 26, 37)])
def test_labels_fit_beside_the_plot_whatever_the_loss(top: float, qtbot: QtBot) -> None:
    make_application()
    plot = CurvePlot()
    qtbot.addWidget(plot)
    course = Course()
    course.curves = {"loss": {1: top, 2: top / 3}, "validation": {2: 0.9871, 3: 0.9912}}
    plot.show_course(course)
    metrics = QFontMetricsF(fonts.small())
    for of_losses, room in ((True, LEFT - 6), (False, RIGHT - 6)):
        written = plot.written(of_losses)
        texts = [text for _, text in written]
        assert len(set(texts)) == len(texts) >= 3
        assert all(0 <= y <= 1 for y, _ in written)
        assert max(metrics.horizontalAdvance(text) for text in texts) <= room
