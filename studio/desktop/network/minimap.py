"""The whole graph at a glance: one bar a row, tinted by sensitivity, with the visible part framed."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, theme
from studio.desktop.network.charts import ramp
from studio.desktop.network.graph_model import HEIGHTS
from studio.desktop.network.graph_view import GraphView
from studio.desktop.network.row_painter import SHOWN_POINTS
from studio.desktop.theme import fonts

LEGEND = 52


class Minimap(QWidget):
    """Bars of all rows, as wide as the layer has weights; a click or drag scrolls the graph."""

    def __init__(self, view: GraphView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self.setObjectName("minimap")
        self.setAccessibleName("Minimap of the layer graph")
        self.setToolTip("Whole network (M shows or hides it); colour: points lost at 4 bits")
        self.rescale()
        view.viewport_moved.connect(self.update)
        view.selection_changed.connect(lambda *_: self.update())

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setFixedWidth(fonts.px(104))
        self.setMinimumHeight(fonts.px(120))

    def _map(self) -> QRectF:
        model = self._view.model
        whole = canvas.area(self)
        height = whole.height() - LEGEND - 16
        used = min(height, model.height * 0.35) if model else height
        return QRectF(8, 8, whole.width() - 16, max(40.0, used))

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), canvas.painter(self)
        model = self._view.model
        if model is None or not model.rows:
            p.end()
            return
        area = self._map()
        p.setPen(QPen(QColor(t.line), 1))
        p.setBrush(QColor(t.panel))
        p.drawRoundedRect(area.adjusted(-4, -4, 4, 4), 4, 4)
        scale = area.height() / max(1, model.height)
        most = max((layer.parameters for layer in model.session.graph.weighted), default=1)
        for i, row in enumerate(model.rows):
            if row.kind == "header":
                continue
            layer = max(row.layers, key=lambda n: n.parameters)
            points = model.tint(layer.name) if layer.weighted else None
            color = t.neutral if points is None else ramp(t.sensitivity, points / SHOWN_POINTS)
            width = (
                area.width() * (0.2 + 0.8 * (layer.parameters / most) ** 0.5) if layer.weighted else area.width() * 0.2
            )
            y = area.top() + model.tops[i] * scale
            p.fillRect(QRectF(area.left(), y, width, max(1.0, HEIGHTS[row.kind] * scale - 1)), QColor(color))
        self._frame(p, t, area)
        self._legend(p, t)
        p.end()

    def _frame(self, p: QPainter, t: theme.Tokens, area: QRectF) -> None:
        bar = self._view.verticalScrollBar()
        total = max(1, bar.maximum() + bar.pageStep())
        top = area.top() + area.height() * bar.value() / total
        box = QRectF(area.left() - 3, top, area.width() + 6, min(area.height(), area.height() * bar.pageStep() / total))
        fill = QColor(t.accent)
        fill.setAlpha(40)
        p.setPen(QPen(QColor(t.accent), 1.5))
        p.setBrush(fill)
        p.drawRoundedRect(box, 3, 3)

    def _legend(self, p: QPainter, t: theme.Tokens) -> None:
        whole = canvas.area(self)
        y, width = whole.height() - LEGEND, whole.width()
        p.setFont(fonts.small())
        p.setPen(QColor(t.text2))
        p.drawText(QRectF(8, y, width - 8, 16), Qt.AlignmentFlag.AlignLeft, "Sensitivity")
        bar = QRectF(8, y + 20, width - 16, 8)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for i, color in enumerate(t.sensitivity):
            gradient.setColorAt(i / (len(t.sensitivity) - 1), QColor(color))
        p.fillRect(bar, gradient)
        p.drawText(QRectF(8, y + 31, 40, 16), Qt.AlignmentFlag.AlignLeft, "0")
        p.drawText(QRectF(8, y + 31, width - 16, 16), Qt.AlignmentFlag.AlignRight, f"{SHOWN_POINTS:g} pt")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._scroll_to(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._scroll_to(event)

    def _scroll_to(self, event: QMouseEvent) -> None:
        area, bar = self._map(), self._view.verticalScrollBar()
        share = (canvas.at(event.position()).y() - area.top()) / max(1.0, area.height())
        bar.setValue(int(share * (bar.maximum() + bar.pageStep()) - bar.pageStep() / 2))
