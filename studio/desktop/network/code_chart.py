"""How often each stored symbol occurs, with the bits of its code: what Huffman coding makes of a layer."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, theme
from studio.desktop.network.charts import LEFT, draw_bars
from studio.desktop.theme import fonts
from studio.session.code_view import CodeView

TOP, BOTTOM = 6, 34
LEAST = 20.0
"""Pixels a bar at least, so that its symbol and bits can be read; the most frequent symbols are shown."""


class CodeChart(QWidget):
    """Bars by falling frequency; below each its symbol and the bits of its code."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Frequencies of stored symbols and the lengths of their codes")
        self._view: CodeView | None = None

    def show_answer(self, view: CodeView) -> None:
        """Show the symbols of a layer."""
        self._view = view
        what = "index of the shared value" if view.indices else "stored integer"
        bits = "bits of its code" if view.coded else "bits that a Huffman code would give it"
        self.setToolTip(f"{view.sentence}\nAbove each bar's foot: the {what}; below: the {bits}")
        self.setAccessibleDescription(view.sentence)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, whole, view = theme.tokens(), canvas.painter(self), canvas.area(self), self._view
        if view is None:
            p.end()
            return
        box = QRectF(LEFT, TOP, whole.width() - LEFT - 8, whole.height() - TOP - BOTTOM)
        shown = max(1, min(len(view.counts), int(box.width() / LEAST)))
        shares = view.counts[:shown] / float(view.counts[0])
        draw_bars(p, box, shares.tolist(), t.compressed if view.coded else t.neutral)
        p.setFont(fonts.small())
        p.setPen(QPen(QColor(t.line), 1))
        p.drawLine(box.bottomLeft(), box.bottomRight())
        step = box.width() / shown
        middle = Qt.AlignmentFlag.AlignCenter
        for i in range(shown):
            x = box.left() + i * step
            p.setPen(QColor(t.text))
            p.drawText(QRectF(x - 4, box.bottom() + 2, step + 8, 15), middle, f"{view.symbols[i]}".replace("-", "−"))
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(x - 4, box.bottom() + 17, step + 8, 15), middle, f"{view.lengths[i]}")
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        p.drawText(QRectF(0, box.bottom() + 2, LEFT - 8, 15), right, "index" if view.indices else "int")
        p.drawText(QRectF(0, box.bottom() + 17, LEFT - 8, 15), right, "bits")
        whole_count = float(view.counts.sum())
        for share in (0.5, 1.0):
            y = box.bottom() - share * box.height()
            text = f"{100 * share * float(np.max(view.counts)) / whole_count:.0f} %"
            p.drawText(QRectF(0, y - 8, LEFT - 8, 16), right, text)
        p.end()
