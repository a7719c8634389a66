"""One number of the budget bar: now, float, limit; what is estimated looks different from what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, fonts, theme

UNDER = 112.0
"""Width of the part behind the dashed line: the value under the slider."""
State = Literal["measured", "counted", "estimate", "updating", "empty"]


@dataclass(frozen=True)
class Reading:
    """What a gauge shows. `share`, `float_share`, `limit_share`: places on the bar, 0..1."""

    title: str
    state: State = "empty"
    state_text: str = ""
    value: str = "–"
    float_text: str = ""
    share: float = 0.0
    float_share: float | None = None
    limit_share: float | None = None
    limit_text: str = "set limit"
    missed: bool = False
    under: str = ""  # the value under the slider, not measured yet
    under_text: str = ""
    under_share: float | None = None
    progress: float | None = None  # of the measurement that runs, 0..1


class Gauge(QWidget):
    """Paints a reading; a click asks to edit the limit."""

    clicked = Signal()

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reading = Reading(title)
        self.compact = False
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumWidth(fonts.px(210))

    def show_reading(self, reading: Reading) -> None:
        """Show other numbers."""
        if reading != self.reading:
            self.reading = reading
            state = f"{reading.state_text} {reading.float_text}".strip()
            self.setToolTip(
                f"{reading.title}: {reading.value}\n{state}\n{reading.limit_text}. Click to change the limit."
            )
            self.setAccessibleDescription(f"{reading.value}, {state}, {reading.limit_text}")
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, r = theme.tokens(), canvas.painter(self), self.reading
        whole = canvas.area(self)
        p.fillRect(whole, QColor(t.panel))
        p.setPen(QPen(QColor(t.line), 1))
        p.drawLine(whole.topRight() - QPointF(0.5, 0), whole.bottomRight() - QPointF(0.5, 0))
        right = UNDER if r.under else 0.0
        box = whole.adjusted(14, 8, -12 - right, -8)
        self._numbers(p, t, box)
        bar = box.width() * (0.46 if r.missed else 0.56)
        self._bar(p, t, QRectF(box.left(), box.bottom() - 14, bar, 10))
        self._limit(p, t, QRectF(box.left() + bar + 10, box.bottom() - 18, box.width() - bar - 10, 18))
        if r.under:
            self._under(p, t, QRectF(box.right() + 8, box.top(), right, box.height()))
        if self.hasFocus():
            p.setPen(QPen(QColor(t.accent), 2))
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.drawRect(whole.adjusted(2, 2, -2, -2))
        p.end()

    def _numbers(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        """Title, state, value and float value: three lines, or one in the compact layout."""
        r, x = self.reading, box.left()
        color = t.bad if r.missed else t.updating if r.state == "updating" else t.text
        title = QFontMetricsF(fonts.section()).horizontalAdvance(r.title)
        if self.compact:
            self._swatch(p, t, QRectF(x, box.top() + 9, 9, 9), r.state)
            self._text(p, QRectF(x + 15, box.top(), title + 4, 28), r.title, fonts.section(), t.text)
            left = x + 15 + title + 10
            self._text(p, QRectF(left, box.top(), box.right() - left, 28), r.value, fonts.gauge(), color)
            return
        self._text(p, QRectF(x, box.top(), box.width(), 17), r.title, fonts.section(), t.text)
        self._swatch(p, t, QRectF(x + title + 12, box.top() + 4, 9, 9), r.state)
        state = QRectF(x + title + 27, box.top(), box.width() - title - 27, 17)
        self._text(p, state, self._state_that_fits(state.width()), fonts.small(), t.text2)
        line = QRectF(x, box.top() + 17, box.width(), 28)
        self._text(p, line, r.value, fonts.gauge(), color)
        value = QFontMetricsF(fonts.gauge()).horizontalAdvance(r.value) + 9
        self._text(p, line.adjusted(value, 3, 0, 0), r.float_text, fonts.small(), t.text2)

    def _state_that_fits(self, width: float) -> str:
        """The whole state, or the part behind its word: the square before it says the word too."""
        text = self.reading.state_text
        wide = QFontMetricsF(fonts.small()).horizontalAdvance(text) > width
        return text.split(" · ", 1)[-1] if wide else text

    def _swatch(self, p: QPainter, t: theme.Tokens, box: QRectF, state: State) -> None:
        if state != "empty":
            draw_swatch(p, t, box, state)

    def _bar(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        r = self.reading
        p.fillRect(box, QColor(t.sunken))
        color = QColor(t.bad if r.missed else t.updating if r.state == "updating" else t.compressed)
        fill = QRectF(box.left(), box.top(), box.width() * min(1.0, r.share), box.height())
        if r.state == "estimate":
            p.setPen(QPen(color, 1))
            p.setBrush(QBrush(color, Qt.BrushStyle.BDiagPattern))
            p.drawRect(fill)
        elif r.state != "empty":
            p.fillRect(fill, color)
        if r.under_share is not None:
            low, high = sorted((min(1.0, r.share), min(1.0, r.under_share)))
            between = QRectF(box.left() + box.width() * low, box.top(), box.width() * (high - low), box.height())
            p.fillRect(between, QColor(t.panel))
            p.fillRect(between, QBrush(QColor(t.compressed), Qt.BrushStyle.BDiagPattern))
        if r.float_share is not None:
            p.setPen(QPen(QColor(t.float_), 1.3))
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.drawRoundedRect(QRectF(box.left(), box.top(), box.width() * min(1.0, r.float_share), box.height()), 2, 2)
        if r.limit_share is not None:
            x = box.left() + box.width() * min(1.0, r.limit_share)
            p.setPen(QPen(QColor(t.text), 1.8))
            p.drawLine(QPointF(x, box.top() - 3), QPointF(x, box.bottom() + 3))
            p.setPen(Qt.PenStyle.NoPen)
            p.setBrush(QColor(t.text))
            p.drawPolygon(
                QPolygonF([QPointF(x - 4, box.top() - 6), QPointF(x + 4, box.top() - 6), QPointF(x, box.top())])
            )

    def _limit(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        r = self.reading
        if r.limit_share is None:
            self._text(p, box, r.limit_text, fonts.small(), t.text3)
        elif r.state == "updating":
            self._text(p, box, r.limit_text, fonts.small(), t.text2)
        else:
            sign, color = ("⚠ ", t.bad) if r.missed else ("✓ ", t.ok)
            self._text(p, box, sign, fonts.section(), color)
            self._text(p, box.adjusted(18, 0, 0, 0), r.limit_text, fonts.small(), t.bad if r.missed else t.text2)

    def _under(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        r = self.reading
        p.setPen(QPen(QColor(t.compressed), 1, Qt.PenStyle.DashLine))
        p.drawLine(QPointF(box.left() - 4, box.top()), QPointF(box.left() - 4, box.bottom()))
        left = box.adjusted(4, 0, 0, 0)
        if not self.compact:
            self._text(p, QRectF(left.left(), left.top(), left.width(), 17), "under slider", fonts.small(), t.text2)
        y = left.top() + (2 if self.compact else 18)
        self._text(p, QRectF(left.left(), y, left.width() - 14, 22), r.under, fonts.card(), t.accent)
        if r.progress is not None:
            line = QRectF(left.left(), y + 24, left.width() - 18, 5)
            p.fillRect(line, QColor(t.sunken))
            p.fillRect(QRectF(line.left(), line.top(), line.width() * r.progress, 6), QColor(t.updating))
        at = QRectF(left.left(), left.bottom() - 16, left.width() - 14, 17)
        if not self.compact:
            self._text(p, at, r.under_text, fonts.small(), t.text2)

    def _text(self, p: QPainter, box: QRectF, text: str, font: object, color: str) -> None:
        p.setFont(font)  # type: ignore[arg-type]
        p.setPen(QColor(color))
        shown = p.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(box.width()))
        p.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)


def draw_swatch(p: QPainter, t: theme.Tokens, box: QRectF, state: State) -> None:
    """Small square: solid for what was measured or counted, hatched for an estimate, grey while numbers run."""
    color = QColor(t.updating if state == "updating" else t.compressed)
    if state == "estimate":
        p.setPen(QPen(color, 1))
        p.setBrush(QBrush(color, Qt.BrushStyle.BDiagPattern))
        p.drawRect(box)
    else:
        p.fillRect(box, color)


class Legend(QWidget):
    """Says what solid, hatched and grey mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Solid: measured. Hatched: estimate. Grey: updating.")
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setFixedWidth(fonts.px(106))

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), canvas.painter(self)
        whole = canvas.area(self)
        p.fillRect(whole, QColor(t.panel))
        p.setFont(fonts.small())
        for i, state in enumerate(("measured", "estimate", "updating")):
            y = whole.height() / 2 + 22 * (i - 1)
            draw_swatch(p, t, QRectF(16, y - 4.5, 9, 9), state)  # type: ignore[arg-type]
            p.setPen(QColor(t.text2))
            flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            p.drawText(QRectF(32, y - 10, 80, 20), flags, state)
        p.end()
