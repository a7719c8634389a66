"""Small bar charts beside the crop: what the network says, and what a frame costs."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, fonts, theme
from studio.desktop.network.row_painter import count

ROW = 30.0
LABEL = 150.0
"""Room for the name of a bar of operations."""
BROKEN = 3.0
"""A bar longer than this many times the next is cut and marked."""


class ScoreBars(QWidget):
    """The best classes of a crop with their shares."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("What the network says of the crop")
        self._scores: Sequence[tuple[str, float]] = ()
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumSize(fonts.px(150), fonts.px(3 * 36))

    def show_scores(self, scores: Sequence[tuple[str, float]]) -> None:
        """Class and share 0..1 of the best three."""
        self._scores = scores[:3]
        self.setToolTip("\n".join(f"{name} {100 * share:.1f} %" for name, share in self._scores))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, box = theme.tokens(), canvas.painter(self), canvas.area(self)
        for i, (name, share) in enumerate(self._scores):
            line = QRectF(0, 36 * i, box.width(), 19)
            p.setPen(QColor(t.text))
            p.setFont(fonts.section())
            text = f"{100 * share:.1f} %"
            p.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
            p.setFont(fonts.body_unscaled())
            room = line.width() - p.fontMetrics().horizontalAdvance(text) - 16
            shown = p.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, int(room))
            p.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
            bar = QRectF(0, line.bottom() + 2, box.width(), 7)
            p.fillRect(bar, QColor(t.sunken))
            p.fillRect(QRectF(bar.left(), bar.top(), bar.width() * share, 7), QColor(t.compressed))
        p.end()


class CostBars(QWidget):
    """Operations of a frame: stage 1 and network, beside the whole frame through the network."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Operations for each frame")
        self._rows: Sequence[tuple[str, float, float]] = ()
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumSize(fonts.px(300), fonts.px(3 * ROW + 26))

    def show_costs(self, rows: Sequence[tuple[str, float, float]]) -> None:
        """Name, operations of stage 1 and of the network, of each way to look at a frame."""
        self._rows = rows
        self.setToolTip("\n".join(f"{n}: stage 1 {count(a)} + network {count(b)}" for n, a, b in rows))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, box = theme.tokens(), canvas.painter(self), canvas.area(self)
        self._head(p, t, box)
        totals = sorted(a + b for _, a, b in self._rows)
        others = totals[-2] if len(totals) > 1 else 0.0
        broken = bool(totals) and others > 0 and totals[-1] > BROKEN * others
        top = others * 1.35 if broken else (totals[-1] if totals else 1.0)
        for i, (name, first, second) in enumerate(self._rows):
            self._row(p, t, QRectF(0, 26 + ROW * i, box.width(), ROW), name, (first, second), top)
        p.end()

    def _head(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        p.setPen(QColor(t.text))
        p.setFont(fonts.section())
        p.drawText(QRectF(0, 0, box.width(), 20), Qt.AlignmentFlag.AlignVCenter, "Operations per frame")
        p.setFont(fonts.small())
        x = box.right()
        for text, color in (("network", t.compressed), ("stage 1", t.warn)):
            width = p.fontMetrics().horizontalAdvance(text)
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(x - width, 0, width, 20), Qt.AlignmentFlag.AlignVCenter, text)
            p.fillRect(QRectF(x - width - 14, 6, 9, 9), QColor(color))
            x -= width + 28

    def _row(
        self, p: QPainter, t: theme.Tokens, box: QRectF, name: str, parts: tuple[float, float], top: float
    ) -> None:
        p.setFont(fonts.small())
        p.setPen(QColor(t.text))
        p.drawText(QRectF(0, box.top(), LABEL - 8, box.height()), Qt.AlignmentFlag.AlignVCenter, name)
        width = box.width() - LABEL - 72
        total = sum(parts)
        shown = min(1.0, total / top) * width
        first = shown * parts[0] / total if total else 0.0
        bar = QRectF(LABEL, box.top() + 6, shown, box.height() - 12)
        p.fillRect(bar, QColor(t.compressed if parts[0] else t.float_))
        p.fillRect(QRectF(bar.left(), bar.top(), max(2.0, first) if parts[0] else 0.0, bar.height()), QColor(t.warn))
        if total > top:
            p.setPen(QPen(QColor(t.panel), 3))
            for dx in (18, 11):
                low = QPointF(bar.right() - dx - 3, bar.bottom() + 2)
                p.drawLine(low, low + QPointF(6, -bar.height() - 4))
        p.setFont(fonts.section())
        p.setPen(QColor(t.text))
        p.drawText(QRectF(bar.right() + 8, box.top(), 70, box.height()), Qt.AlignmentFlag.AlignVCenter, count(total))
