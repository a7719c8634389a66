"""Curves of a training job over its steps: losses on the left axis, shares (accuracies) on the right one."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, fonts, theme

LEFT, RIGHT, TOP, BOTTOM = 54, 58, 34, 28
Curves = Mapping[str, Mapping[int, float]]
"""Value by step, by the curve's name."""
HINT = "Start a job: its curves appear here."


class CurvePlot(QWidget):
    """One line a curve; names that hold "loss" share the left axis, all others are shares in percent."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("curves")
        self.setAccessibleName("Curves of the training")
        self._curves: Curves = {}

    def show_curves(self, curves: Curves) -> None:
        """Show the curves as far as they are known."""
        self._curves = curves
        last = ", ".join(f"{name} {list(points.values())[-1]:.4g}" for name, points in curves.items() if points)
        self.setAccessibleDescription(last)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, whole = theme.tokens(), canvas.painter(self), canvas.area(self)
        p.fillRect(whole, QColor(t.panel))
        p.setFont(fonts.small())
        box = QRectF(LEFT, TOP, whole.width() - LEFT - RIGHT, whole.height() - TOP - BOTTOM)
        if not any(self._curves.values()):
            p.setPen(QColor(t.text2))
            p.drawText(whole, Qt.AlignmentFlag.AlignCenter, HINT)
            p.end()
            return
        last = max(step for points in self._curves.values() for step in points) or 1
        self._axes(p, t, box, last)
        x = box.left()
        for i, (name, points) in enumerate(self._curves.items()):
            color = QColor((t.compressed, t.warn, t.ok, t.lane1, t.bad, t.float_)[i % 6])
            low, high = self._range(left(name))
            line = [
                QPointF(box.left() + box.width() * step / last, box.bottom() - box.height() * (v - low) / (high - low))
                for step, v in points.items()
            ]
            p.setPen(QPen(color, 2, Qt.PenStyle.SolidLine if left(name) else Qt.PenStyle.DashLine))
            p.drawPolyline(QPolygonF(line))
            p.drawLine(QPointF(x, 16), QPointF(x + 20, 16))
            text = f"{name} {_written(name, list(points.values())[-1])}" if points else name
            p.setPen(QColor(t.text))
            p.drawText(QPointF(x + 26, 20), text)
            x += 46 + p.fontMetrics().horizontalAdvance(text)
        p.end()

    def _range(self, of_losses: bool) -> tuple[float, float]:
        values = [v for name, points in self._curves.items() if left(name) == of_losses for v in points.values()]
        if not values:
            return 0.0, 1.0
        low, high = (0.0, max(values)) if of_losses else (min(values), max(values))
        return low, high if high > low else low + 0.01

    def _axes(self, p: QPainter, t: theme.Tokens, box: QRectF, last: int) -> None:
        losses, shares = self._range(True), self._range(False)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for part in (0.0, 0.5, 1.0):
            y = box.bottom() - part * box.height()
            p.setPen(QPen(QColor(t.line), 1))
            p.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(0, y - 8, LEFT - 6, 16), right, f"{losses[0] + part * (losses[1] - losses[0]):.2g}")
            text = f"{100 * (shares[0] + part * (shares[1] - shares[0])):.1f} %"
            p.drawText(QRectF(box.right() + 6, y - 8, RIGHT - 6, 16), Qt.AlignmentFlag.AlignVCenter, text)
        p.drawText(QRectF(box.left(), box.bottom() + 6, box.width(), 16), right, f"step {last:,}")


def left(name: str) -> bool:
    """True for a curve of the left axis."""
    return "loss" in name


def _written(name: str, value: float) -> str:
    return f"{value:.3g}" if left(name) else f"{100 * value:.2f} %"
