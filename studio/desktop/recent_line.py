"""One recent project on the start page: name, curve, size, accuracy, steps, when."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractButton, QSizePolicy

from studio.desktop import canvas, fonts, theme
from studio.desktop.recents import Recent, when_text

LEFT, RIGHT = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
WIDE = 700
"""Width from which curve and steps have room."""


class RecentLine(QAbstractButton):
    """Opens its project by click, Enter or Space."""

    def __init__(self, recent: Recent) -> None:
        super().__init__()
        self._recent = recent
        self.setObjectName(f"recent-{recent.name}")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setAccessibleName(f"Open {recent.name}")
        self.setToolTip(recent.opened.model)

    def sizeHint(self) -> QSize:
        return QSize(fonts.px(300), fonts.px(62))

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, r = theme.tokens(), canvas.painter(self), self._recent
        box = canvas.area(self)
        p.fillRect(box, QColor(t.soft if self.underMouse() or self.hasFocus() else t.panel))
        p.setPen(QPen(QColor(t.line), 1))
        p.drawLine(box.topLeft(), box.topRight())
        w, wide = box.width(), box.width() >= WIDE
        data = Path(r.opened.data).name if r.opened.data else "no data"
        name = w * (0.30 if wide else 0.44)
        self._pair(p, QRectF(16, 0, name - 24, box.height()), r.name, data, LEFT)
        if wide:
            self._curve(p, QRectF(name, 14, 84, 34))
            self._chips(p, w * 0.66, w * 0.85)
        size = f"{r.flash_bytes / 1024:,.1f} KiB" if r.flash_bytes else ""
        of = f"of {r.float_bytes / 1024:,.1f}" if r.float_bytes and r.flash_bytes else ""
        value = f"{100 * r.value:.2f} %" if r.value is not None else ""
        columns = ((0.40, 0.13), (0.53, 0.11)) if wide else ((0.44, 0.18), (0.62, 0.18))
        self._pair(p, QRectF(w * columns[0][0], 0, w * columns[0][1], box.height()), size, of, RIGHT)
        accuracy = QRectF(w * columns[1][0], 0, w * columns[1][1], box.height())
        self._pair(p, accuracy, value, "accuracy" if value else "", RIGHT)
        p.setFont(fonts.small())
        p.setPen(QColor(t.text2))
        when = QRectF(w * 0.80, 0, w * 0.20 - 16, box.height())
        p.drawText(when, RIGHT | Qt.AlignmentFlag.AlignVCenter, when_text(r.when))
        p.end()

    def _pair(self, p: QPainter, box: QRectF, first: str, second: str, side: Qt.AlignmentFlag) -> None:
        t, middle = theme.tokens(), Qt.TextElideMode.ElideMiddle
        half = QRectF(box.left(), box.center().y() - 20, box.width(), 20)
        for text, font, color, at in (
            (first, fonts.card(), t.text, half),
            (second, fonts.small(), t.text2, half.translated(0, 20)),
        ):
            p.setFont(font)
            p.setPen(QColor(color))
            shown = p.fontMetrics().elidedText(text, middle, int(box.width()))
            p.drawText(at, side | Qt.AlignmentFlag.AlignVCenter, shown)

    def _curve(self, p: QPainter, box: QRectF) -> None:
        points, t = self._recent.points, theme.tokens()
        if len(points) < 2:
            return
        p.setPen(QPen(QColor(t.line), 1))
        p.drawPolyline(QPolygonF([box.topLeft(), box.bottomLeft(), box.bottomRight()]))
        xs, ys = [x for x, _ in points], [y for _, y in points]
        inner = box.adjusted(5, 4, -5, -5)

        def at(x: float, y: float) -> QPointF:
            across = (x - xs[0]) / max(1, xs[-1] - xs[0])
            up = (y - min(ys)) / max(1e-9, max(ys) - min(ys))
            return QPointF(inner.left() + across * inner.width(), inner.bottom() - up * inner.height())

        best: list[tuple[int, float]] = []
        for point in points:
            if not best or point[1] > best[-1][1]:
                best.append(point)
        p.setPen(QPen(QColor(t.ok), 1.6))
        p.drawPolyline(QPolygonF([at(*point) for point in best]))
        for x, y in points:
            now = (x, y) == (self._recent.flash_bytes, self._recent.value)
            p.setPen(QPen(QColor(t.compressed if now else t.ctl), 1.3))
            p.setBrush(QColor(t.compressed if now else t.panel))
            p.drawEllipse(at(x, y), 3.6 if now else 2.4, 3.6 if now else 2.4)
        p.setBrush(Qt.BrushStyle.NoBrush)

    def _chips(self, p: QPainter, x: float, right: float) -> None:
        t = theme.tokens()
        p.setFont(fonts.chip())
        for technique, text in self._recent.chips:
            width = p.fontMetrics().horizontalAdvance(text) + 26
            if x + width > right:
                return
            chip = QRectF(x, canvas.area(self).height() / 2 - 11, width, 22)
            p.setPen(QPen(QColor(t.line), 1))
            p.setBrush(QColor(t.raised))
            p.drawRoundedRect(chip, 3, 3)
            p.fillRect(QRectF(x + 7, chip.top() + 6, 7, 10), QColor(t.technique(technique)))
            p.setPen(QColor(t.text))
            p.drawText(chip.adjusted(19, 0, 0, 0), LEFT | Qt.AlignmentFlag.AlignVCenter, text)
            x += width + 5
