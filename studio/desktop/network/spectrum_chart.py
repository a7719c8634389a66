"""Singular values of a layer, largest first; the rank is a line that can be dragged or moved by keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, theme
from studio.desktop.network.charts import LEFT, draw_bars
from studio.desktop.theme import fonts

if TYPE_CHECKING:
    from studio.techniques._ranks import Spectrum

TOP, BOTTOM = 10, 20
KEYS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_PageDown: -8, Qt.Key.Key_PageUp: 8}


class SpectrumChart(canvas.Draggable):
    """Bars that stay are filled, those behind the rank outlines; the line on top is the kept energy.

    `rank_moved(rank, final)`: the rank that the user wants.
    """

    rank_moved = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Singular values, rank")
        self.setToolTip("Drag the line, or use Left and Right: the rank that low rank keeps")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._spectrum: Spectrum | None = None
        self._rank: int | None = None

    def show_answer(self, spectrum: Spectrum, applied: bool) -> None:
        """Show the values; `applied`: the plan cuts the layer at the spectrum's rank."""
        self._spectrum, self._rank = spectrum, spectrum.rank if applied else None
        self.update()

    @property
    def rank(self) -> int | None:
        """Rank of the plan or under the hand; None where the layer is not cut."""
        return self._rank

    def _box(self) -> QRectF:
        whole = canvas.area(self)
        return QRectF(LEFT, TOP, whole.width() - LEFT - 8, whole.height() - TOP - BOTTOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, box, found = theme.tokens(), canvas.painter(self), self._box(), self._spectrum
        if found is None or not len(found.values):
            p.end()
            return
        count = len(found.values)
        shares = (found.values / (float(found.values[0]) or 1.0)).tolist()
        kept = count if self._rank is None else self._rank
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        draw_bars(p, box, [h if i < kept else 0.0 for i, h in enumerate(shares)], t.compressed)
        step = box.width() / count
        p.setPen(QPen(QColor(t.float_), 1))
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.drawRects([
            QRectF(box.left() + i * step, box.bottom() - shares[i] * box.height(), step - 1, shares[i] * box.height())
            for i in range(kept, count)
        ])  # fmt: skip
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._axes(p, t, box, float(found.values[0]), count)
        points = [
            QPointF(box.left() + (i + 1) * step, box.bottom() - float(e) * box.height())
            for i, e in enumerate(found.energy)
        ]
        p.setPen(QPen(QColor(t.panel), 4))
        p.drawPolyline(QPolygonF(points))
        p.setPen(QPen(QColor(t.text2), 1.6))
        p.drawPolyline(QPolygonF(points))
        self._line(p, t, box, step, found)
        p.end()

    def _axes(self, p: QPainter, t: theme.Tokens, box: QRectF, top: float, count: int) -> None:
        p.setFont(fonts.small())
        p.setPen(QColor(t.text2))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share in (0.0, 0.5, 1.0):
            y = box.bottom() - share * box.height()
            p.drawText(QRectF(0, y - 8, LEFT - 5, 16), right, f"{share * top:.2g}")
        p.drawText(QRectF(box.left(), box.bottom() + 2, 60, 16), Qt.AlignmentFlag.AlignLeft, "rank 1")
        p.drawText(QRectF(box.right() - 60, box.bottom() + 2, 60, 16), Qt.AlignmentFlag.AlignRight, str(count))
        middle = QRectF(box.left() + 60, box.bottom() + 2, box.width() - 120, 16)
        p.drawText(middle, Qt.AlignmentFlag.AlignHCenter, "line: kept energy, 0 to 100 %")

    def _line(self, p: QPainter, t: theme.Tokens, box: QRectF, step: float, found: Spectrum) -> None:
        rank = self._rank if self._rank is not None else len(found.values)
        x = box.left() + rank * step
        p.setPen(QPen(QColor(t.accent if self.hasFocus() else t.text), 1.6, Qt.PenStyle.DashLine))
        p.drawLine(QPointF(x, box.top() - 4), QPointF(x, box.bottom()))
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(t.accent if self.hasFocus() else t.text))
        p.drawPolygon(QPolygonF([QPointF(x - 5, box.top() - 9), QPointF(x + 5, box.top() - 9), QPointF(x, box.top())]))
        if self._rank is None:
            return
        text = f"rank {rank} of {len(found.values)} · {100 * float(found.energy[rank - 1]):.1f} % energy"
        width = p.fontMetrics().horizontalAdvance(text) + 16
        left = x + 8 if x + 8 + width < box.right() else max(box.left(), x - 8 - width)
        label = QRectF(left, box.center().y() - 11, width, 22)
        p.setPen(QPen(QColor(t.ctl), 1))
        p.setBrush(QColor(t.panel))
        p.drawRoundedRect(label, 3, 3)
        p.setPen(QColor(t.text))
        p.drawText(label, Qt.AlignmentFlag.AlignCenter, text)

    def _move(self, rank: int, final: bool) -> None:
        if self._spectrum is None or not len(self._spectrum.values):
            return
        self._rank = max(1, min(len(self._spectrum.values), rank))
        self.update()
        self.rank_moved.emit(self._rank, final)

    def _drag(self, event: QMouseEvent, final: bool) -> None:
        box = self._box()
        count = len(self._spectrum.values) if self._spectrum is not None else 0
        self._move(round((canvas.at(event.position()).x() - box.left()) / max(1.0, box.width()) * count), final)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        by = KEYS.get(Qt.Key(event.key()))
        if by is None or self._spectrum is None:
            super().keyPressEvent(event)
            return
        at = self._rank if self._rank is not None else len(self._spectrum.values)
        self._move(int(np.clip(at + by, 1, len(self._spectrum.values))), True)
