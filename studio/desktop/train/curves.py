"""Curves of a training job over its steps: losses on the left axis, shares (accuracies) on the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, fonts, theme
from studio.desktop.scale import labels, round_values
from studio.desktop.train.course import WITHOUT, Course

LEFT, RIGHT, BOTTOM, ROW = 54, 62, 34, 22
SAMPLE = 30
"""Pixels of a piece of line in the legend."""
HINT = "Start a job: its curves appear here."
RIGHT_MIDDLE = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
LEFT_MIDDLE = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class Entry:
    """One curve in the legend, at its place."""

    name: str
    text: str
    x: float
    row: int


class CurvePlot(QWidget):
    """One line a curve; names that hold "loss" share the left axis, all others are shares in percent.

    A run without teacher has a colour of its own; losses are solid, shares dashed with a dot an epoch.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("curves")
        self.setAccessibleName("Curves of the training")
        self._course = Course()

    def show_course(self, course: Course) -> None:
        """Show the curves as far as they are known."""
        self._course = course
        texts = [self._text(name, points) for name, points in course.curves.items() if points]
        self.setAccessibleDescription(", ".join(texts))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, whole = theme.tokens(), canvas.painter(self), canvas.area(self)
        p.fillRect(whole, QColor(t.panel))
        p.setFont(fonts.small())
        if not self._course.curves:
            p.setPen(QColor(t.text2))
            p.drawText(whole, Qt.AlignmentFlag.AlignCenter, HINT)
            p.end()
            return
        legend = self._legend(p, whole.width())
        top = ROW * (2 + legend[-1].row) + 6
        box = QRectF(LEFT, top, whole.width() - LEFT - RIGHT, whole.height() - top - BOTTOM)
        last = max(step for points in self._course.curves.values() for step in points) or 1
        self._axes(p, t, box, last)
        for name, points in self._course.curves.items():
            self._line(p, t, box, last, name, points)
        self._marks(p, t, box, last)
        for entry in legend:
            self._entry(p, t, entry)
        p.end()

    # -- legend -----------------------------------------------------------------------------------

    def _legend(self, p: QPainter, width: float) -> list[Entry]:
        """Entries one behind the other, losses first, in as many rows as they need."""
        found: list[Entry] = []
        x, row = float(LEFT), 0
        for name, points in sorted(self._course.curves.items(), key=lambda curve: not left(curve[0])):
            text = self._text(name, points)
            room = SAMPLE + 6 + p.fontMetrics().horizontalAdvance(text)
            if found and x + room > width - 8:
                x, row = float(LEFT), row + 1
            found.append(Entry(name, text, x, row))
            x += room + 20
        return found

    def _text(self, name: str, points: Mapping[int, float]) -> str:
        """Name of a curve with its newest value."""
        value = list(points.values())[-1]
        shown = f"validation {name}" if name == WITHOUT else name
        alone = not self._course.marks  # in a recipe the curve goes on through jobs that have no teacher
        shown += " with teacher" if self._course.compared and alone and not name.endswith(WITHOUT) else ""
        return f"{shown} {value:.3g}" if left(name) else f"{shown} {100 * value:.2f} %"

    def _entry(self, p: QPainter, t: theme.Tokens, entry: Entry) -> None:
        y = ROW * entry.row + ROW / 2
        p.setPen(_pen(t, entry.name))
        p.drawLine(QPointF(entry.x, y), QPointF(entry.x + SAMPLE, y))
        if not left(entry.name):
            _dot(p, QPointF(entry.x + SAMPLE / 2, y), t, entry.name)
        p.setPen(QColor(t.text))
        p.drawText(QRectF(entry.x + SAMPLE + 6, y - ROW / 2, 400, ROW), LEFT_MIDDLE, entry.text)

    # -- scales and lines -------------------------------------------------------------------------

    def _range(self, of_losses: bool) -> tuple[float, float]:
        curves = self._course.curves.items()
        values = [v for name, points in curves if left(name) == of_losses for v in points.values()]
        if not values:
            return 0.0, 1.0
        if of_losses:
            return 0.0, 1.05 * max(values) or 1.0
        room = max(0.005, 0.06 * (max(values) - min(values)))
        return max(0.0, min(values) - room), min(1.0, max(values) + room)

    def _line(
        self, p: QPainter, t: theme.Tokens, box: QRectF, last: int, name: str, points: Mapping[int, float]
    ) -> None:
        low, high = self._range(left(name))
        places = {
            step: QPointF(
                box.left() + box.width() * step / last, box.bottom() - box.height() * (v - low) / (high - low)
            )
            for step, v in sorted(points.items())
        }
        for part in self._parts(list(places)):
            p.setPen(_pen(t, name))
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.drawPolyline(QPolygonF([places[step] for step in part]))
        if not left(name):
            for place in places.values():
                _dot(p, place, t, name)

    def _parts(self, steps: list[int]) -> list[list[int]]:
        """Steps of each job of a recipe: a line does not go on from one job to the next."""
        bounds = [-1, *sorted(step for step in self._course.marks if step), max(steps)]
        return [[step for step in steps if a < step <= b] for a, b in pairwise(bounds)]

    def _marks(self, p: QPainter, t: theme.Tokens, box: QRectF, last: int) -> None:
        """Where each job of a recipe begins; its name covers the curves."""
        for step, title in self._course.marks.items():
            x = box.left() + box.width() * step / last
            p.setPen(QPen(QColor(t.ctl), 1, Qt.PenStyle.DotLine))
            p.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
            name = QRectF(x + 3, box.top() + 2, p.fontMetrics().horizontalAdvance(title) + 6, 16)
            p.fillRect(name, QColor(t.panel))
            p.setPen(QColor(t.text2))
            p.drawText(name.translated(3, 0), LEFT_MIDDLE, title)

    def _axes(self, p: QPainter, t: theme.Tokens, box: QRectF, last: int) -> None:
        self._losses(p, t, box)
        self._shares(p, t, box)
        p.setPen(QColor(t.text2))
        p.drawText(QRectF(8, box.top() - 26, 200, 16), LEFT_MIDDLE, "loss")
        p.drawText(QRectF(box.right() + RIGHT - 208, box.top() - 26, 200, 16), RIGHT_MIDDLE, "validation")
        for step in ticks(last):
            x = box.left() + box.width() * step / last
            p.drawLine(QPointF(x, box.bottom()), QPointF(x, box.bottom() + 4))
            p.drawText(QRectF(x - 40, box.bottom() + 6, 80, 16), Qt.AlignmentFlag.AlignHCenter, f"{step:,}")
        p.drawText(QRectF(box.right() - 30, box.bottom() + 6, RIGHT + 26, 16), RIGHT_MIDDLE, "step")

    def _losses(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        """Values of the left axis, each with a line through the plot."""
        for y, text in self.written(of_losses=True):
            place = box.bottom() - y * box.height()
            p.setPen(QPen(QColor(t.line), 1))
            p.drawLine(QPointF(box.left(), place), QPointF(box.right(), place))
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(0, place - 8, LEFT - 6, 16), RIGHT_MIDDLE, text)

    def _shares(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        """Values of the right axis, without lines: one before a number would be a minus."""
        p.setPen(QColor(t.text2))
        for y, text in self.written(of_losses=False):
            place = box.bottom() - y * box.height()
            p.drawText(QRectF(box.right() + 6, place - 8, RIGHT - 6, 16), LEFT_MIDDLE, text)

    def written(self, of_losses: bool) -> list[tuple[float, str]]:
        """What stands at an axis: height from 0 to 1, and text; shares in percent."""
        low, high = (v if of_losses else 100 * v for v in self._range(of_losses))
        values = round_values(low, high)
        unit = "" if of_losses else " %"
        return [((value - low) / (high - low), text + unit) for value, text in zip(values, labels(values), strict=True)]


def ticks(last: int) -> Sequence[int]:
    """Round numbers of steps, at most six, from 0 to below nine tenths of `last`, behind which the unit stands."""
    size = next(m * 10**e for e in range(10) for m in (1, 2, 5) if 6 * m * 10**e >= last)
    return range(0, max(1, int(0.92 * last) + 1), size)


def left(name: str) -> bool:
    """True for a curve of the left axis."""
    return "loss" in name


def _color(t: theme.Tokens, name: str) -> QColor:
    return QColor(t.warn if name.endswith(WITHOUT) else t.compressed)


def _pen(t: theme.Tokens, name: str) -> QPen:
    if left(name):
        return QPen(_color(t, name), 1.6)
    return QPen(_color(t, name), 2.2, Qt.PenStyle.DashLine)


def _dot(p: QPainter, at: QPointF, t: theme.Tokens, name: str) -> None:
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(_color(t, name))
    p.drawEllipse(at, 3.5, 3.5)
