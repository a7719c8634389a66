"""Titles of the columns above the rows of the graph."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from studio.desktop import theme
from studio.desktop.network.row_painter import TITLES, columns
from studio.desktop.theme import fonts

HEIGHT = 26


class GraphHeader(QWidget):
    """Paints the titles where `place(left, width, scale)` says that cards stand, in unscaled pixels."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-header")
        self._left, self._width, self._scale = 0.0, 0.0, 1.0

    def place(self, left: float, width: float, scale: float) -> None:
        """Cards start at `left` and are `width` wide; `scale` pixels on screen for each of theirs."""
        if (left, width, scale) != (self._left, self._width, self._scale):
            self._left, self._width, self._scale = left, width, scale
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.fillRect(self.rect(), QColor(t.raised))
        p.setPen(QPen(QColor(t.line), 1))
        p.drawLine(self.rect().bottomLeft(), self.rect().bottomRight())
        if self._width > 0:
            p.setFont(fonts.scaled(fonts.small()))
            p.setPen(QColor(t.text2))
            if self._left * self._scale > 5 * p.fontMetrics().averageCharWidth() + 10:
                self._title(p, 8, self._left * self._scale, "Lanes")
            for name, (x, width) in columns(self._width).items():
                right = name == "size"
                self._title(p, (self._left + x) * self._scale, width * self._scale, TITLES[name], right)
        p.end()

    def _title(self, p: QPainter, x: float, width: float, text: str, right: bool = False) -> None:
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        if right:  # a zoomed out column may be narrower than its title, which then reaches to the left
            wide = max(width, p.fontMetrics().horizontalAdvance(text) + 2.0)
            x, width = x + width - wide, wide
        shown = p.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(width))
        p.drawText(QRectF(x, 0, width, self.height()), side | Qt.AlignmentFlag.AlignVCenter, shown)
