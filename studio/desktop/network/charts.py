"""Charts of the inspector, painted directly so that they follow the slider: weights and importance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, theme
from studio.desktop.theme import fonts

LEFT, BOTTOM, TOP = 50, 22, 8
SHARES = (0.0, 0.5, 1.0)
"""Where labels stand along an axis."""
GRIP = 12
"""Room left of the axis for the grip of the threshold."""
SHADES = 64
"""Colours of a ramp between its stops."""


def ramp(colors: tuple[str, ...], share: float) -> str:
    """Colour of a ramp at 0..1."""
    return shades(colors)[round(min(1.0, max(0.0, share)) * (SHADES - 1))]


@cache
def shades(colors: tuple[str, ...]) -> tuple[str, ...]:
    """Colours of a ramp, low to high."""
    found = []
    for i in range(SHADES):
        at = i / (SHADES - 1) * (len(colors) - 1)
        low = min(len(colors) - 2, int(at))
        found.append(theme.mix(colors[low], colors[low + 1], at - low))
    return tuple(found)


def draw_bars(p: QPainter, box: QRectF, shares: Sequence[float], color: str) -> None:
    """Bars side by side, heights 0..1, in one call: every call into Qt may wait for Python's lock."""
    step = box.width() / len(shares)
    width = max(1.0, step - 0.6)
    bars = [
        QRectF(box.left() + i * step, box.bottom() - h * box.height(), width, h * box.height())
        for i, h in enumerate(shares)
        if h > 0
    ]
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(QColor(color))
    p.drawRects(bars)


def draw_outline(p: QPainter, box: QRectF, shares: Sequence[float], color: str, width: float) -> None:
    """Outline of a histogram, heights 0..1, in one call."""
    step = box.width() / len(shares)
    points = []
    for i, h in enumerate(shares):
        y = box.bottom() - h * box.height()
        points += [QPointF(box.left() + i * step, y), QPointF(box.left() + (i + 1) * step, y)]
    p.setPen(QPen(QColor(color), width))
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.drawPolyline(QPolygonF(points))


class WeightChart(QWidget):
    """Histogram of a layer's weights: float as outline, as stored as bars, quantization levels as dashes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(fonts.px(118))
        self.setAccessibleName("Histogram of the weights")
        self.setToolTip("Weights by value. A bar with a gap is higher than the axis: a level that holds many weights")
        self.log = False
        self._before = self._after = np.zeros(1)
        self._edges = np.array([-1.0, 1.0])
        self._levels = np.zeros(0)

    def set_log(self, on: bool) -> None:
        """Logarithmic counts."""
        self.log = on
        self.update()

    def show_weights(self, before: np.ndarray, after: np.ndarray, edges: np.ndarray, levels: np.ndarray) -> None:
        """Counts (bins,) in float and as stored, edges (bins + 1,), levels of the grid in weight units."""
        self._before, self._after, self._edges, self._levels = before, after, edges, levels
        self.update()

    def _height(self, count: float, top: float) -> float:
        if self.log:
            return float(np.log10(1 + count) / np.log10(1 + top)) if top else 0.0
        return min(1.0, count / top) if top else 0.0

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, whole = theme.tokens(), canvas.painter(self), canvas.area(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        box = QRectF(LEFT, TOP, whole.width() - LEFT - 8, whole.height() - TOP - BOTTOM)
        top = float(max(self._before.max(), 1))
        top = max(top, float(self._after.max())) if self.log else top
        self._axes(p, t, box, top)
        after = [self._height(float(count), top) for count in self._after]
        draw_bars(p, box, after, t.compressed)
        self._breaks(p, t, box, top)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        low, high = float(self._edges[0]), float(self._edges[-1])
        if len(self._levels) <= 63:
            p.setPen(QPen(QColor(t.accent), 1, Qt.PenStyle.DotLine))
            for level in self._levels:
                if low <= level <= high:
                    x = box.left() + (level - low) / (high - low) * box.width()
                    p.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
        draw_outline(p, box, [self._height(float(count), top) for count in self._before], t.float_, 1.4)
        p.end()

    def _breaks(self, p: QPainter, t: theme.Tokens, box: QRectF, top: float) -> None:
        """Gap in every bar that goes on above the axis, which ends with the highest in float."""
        step = box.width() / len(self._after)
        cut = [QRectF(box.left() + i * step, box.top() + 5, step, 2) for i in np.flatnonzero(self._after > top)]
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(t.panel))
        p.drawRects(cut)

    def _axes(self, p: QPainter, t: theme.Tokens, box: QRectF, top: float) -> None:
        p.setFont(fonts.small())
        for share in SHARES:
            y = box.bottom() - share * box.height()
            p.setPen(QPen(QColor(t.line), 1))
            p.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            count = (1 + top) ** share - 1 if self.log else share * top
            p.setPen(QColor(t.text2))
            text = f"{count / 1000:.0f} k" if count >= 10_000 else f"{count:.0f}"
            p.drawText(
                QRectF(0, y - 8, LEFT - 5, 16), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text
            )
        for share, side in ((0.0, "AlignLeft"), (0.5, "AlignHCenter"), (1.0, "AlignRight")):
            value = self._edges[0] + share * (self._edges[-1] - self._edges[0])
            x = box.left() + share * box.width()
            at = QRectF(x - (0 if share == 0 else 30 if share == 0.5 else 60), box.bottom() + 3, 60, 16)
            p.drawText(at, getattr(Qt.AlignmentFlag, side), "0" if share == 0.5 else f"{value:.3g}".replace("-", "−"))


class ImportanceChart(canvas.Draggable):
    """Scores of the output channels, sorted; the threshold is dragged and tells the share below it.

    `threshold_changed(share, final)`: share of the channels below the line.
    """

    threshold_changed = Signal(float, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(fonts.px(108))
        self.setAccessibleName("Importance of each channel, sorted")
        self.setToolTip("Drag the line: channels below it are the least important ones")
        self._scores = np.zeros(0)
        self._message = ""
        self._threshold: float | None = None
        self._order = np.zeros(0, np.intp)
        self._dropped = np.zeros(0, np.bool_)

    def show_scores(self, scores: np.ndarray) -> None:
        """Scores (channels,), higher = keep."""
        self._order = np.argsort(-scores, kind="stable")
        self._scores, self._message, self._threshold = scores[self._order], "", None
        self.update()

    def show_dropped(self, dropped: np.ndarray) -> None:
        """Channels (channels,), in the file's order, that the plan drops: outlines."""
        self._dropped = dropped
        self.update()

    def _gone(self) -> np.ndarray:
        """(channels,) in the order shown: dropped by the plan, or while the line is dragged below it."""
        if self._threshold is not None:
            found: np.ndarray = self._scores < self._threshold
            return found
        fits = len(self._dropped) == len(self._scores)
        return self._dropped[self._order] if fits else np.zeros(len(self._scores), np.bool_)

    def show_message(self, text: str) -> None:
        """Say why there is nothing to show."""
        self._scores, self._message = np.zeros(0), text
        self.update()

    @property
    def below(self) -> int:
        """Channels below the threshold."""
        return int((self._scores < self._threshold).sum()) if self._threshold is not None else 0

    def _labels(self) -> list[str]:
        """Scores at the bottom, the middle and the top of the axis."""
        return [f"{share * self._top():.2g}" for share in SHARES]

    def _box(self) -> QRectF:
        whole, metrics = canvas.area(self), QFontMetricsF(fonts.small())
        left = max(LEFT, GRIP + 2 + max(metrics.horizontalAdvance(label) for label in self._labels()))
        return QRectF(left, TOP, whole.width() - left - 8, whole.height() - TOP - 8)

    def _top(self) -> float:
        return float(self._scores.max()) if len(self._scores) and self._scores.max() > 0 else 1.0

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, box = theme.tokens(), canvas.painter(self), self._box()
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        p.setFont(fonts.small())
        if not len(self._scores):
            p.setPen(QColor(t.text2))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            p.drawText(canvas.area(self).adjusted(8, 0, -8, 0), flags, self._message)
            p.end()
            return
        top, step = self._top(), box.width() / len(self._scores)
        p.setPen(QColor(t.text2))
        for share, label in zip(SHARES, self._labels(), strict=True):
            at = QRectF(0, box.bottom() - share * box.height() - 8, box.left() - GRIP, 16)
            p.drawText(at, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)
        for i, (score, gone) in enumerate(zip(self._scores, self._gone(), strict=True)):
            h = max(0.0, float(score) / top) * box.height()
            bar = QRectF(box.left() + i * step, box.bottom() - h, max(1.0, step - (0.6 if step > 3 else 0)), h)
            if gone:
                p.setPen(QPen(QColor(t.float_), 1))
                p.setBrush(Qt.BrushStyle.NoBrush)
                p.drawRect(bar)
            else:
                p.fillRect(bar, QColor(ramp(t.importance, float(score) / top)))
        self._line(p, t, box, top)
        p.end()

    def _line(self, p: QPainter, t: theme.Tokens, box: QRectF, top: float) -> None:
        y = box.bottom() - (self._threshold or 0.0) / top * box.height()
        p.setPen(QPen(QColor(t.text), 1.2, Qt.PenStyle.DashLine))
        p.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
        grip = QPolygonF([QPointF(box.left() - 9, y - 5), QPointF(box.left() - 9, y + 5), QPointF(box.left(), y)])
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(t.text))
        p.drawPolygon(grip)
        n = int(self._gone().sum())
        if self._threshold is not None or n:
            words = ("kept", "dropped") if self._threshold is None else ("above", "below")
            text = f"{len(self._scores) - n} {words[0]} · {n} {words[1]}"
            width = p.fontMetrics().horizontalAdvance(text) + 16
            label = QRectF(box.right() - width, box.top(), width, 22)
            p.setPen(QPen(QColor(t.ctl), 1))
            p.setBrush(QColor(t.panel))
            p.drawRoundedRect(label, 3, 3)
            p.setPen(QColor(t.text))
            p.drawText(label, Qt.AlignmentFlag.AlignCenter, text)

    def _drag(self, event: QMouseEvent, final: bool) -> None:
        if not len(self._scores):
            return
        box = self._box()
        share = (box.bottom() - canvas.at(event.position()).y()) / max(1.0, box.height())
        self._threshold = max(0.0, min(1.0, share)) * self._top()
        self.update()
        self.threshold_changed.emit(self.below / len(self._scores), final)
