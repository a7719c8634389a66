"""Accuracy over flash with history: click a dot to go back to its plan; an arrow is what a training did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QToolTip, QWidget

from studio.core.result import Result
from studio.desktop import canvas, theme
from studio.desktop.network.figures import expected, float_cost
from studio.desktop.scale import labels, round_values
from studio.desktop.theme import fonts
from studio.session.events import Measured

if TYPE_CHECKING:
    from studio.session import Session

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 40, 36
NEAR = 9.0
"""Pixels around a dot that count as on it."""
GAP, HEAD = 8.0, 8.0
"""Pixels between a dot's middle and the arrow, and of the arrow's head."""


@dataclass(frozen=True)
class Dot:
    """One plan in the plot."""

    measured: Measured | None  # None for an estimate
    x: float  # bytes
    y: float  # metric, 0..1
    kind: str  # float, past, now, estimate
    key: str = ""  # of its plan


class TradeoffPlot(QWidget):
    """Dots of all measured plans, the Pareto line, the estimate of the one under the hand.

    `picked(Measured)`: the user wants that plan back.
    """

    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("tradeoff")
        self.setAccessibleName("Accuracy over flash")
        self.rescale()
        self.setMouseTracking(True)
        self._session: Session | None = None
        self._estimate: Result | None = None
        self.limit: float | None = None  # bytes of flash
        self.least: float | None = None  # metric, 0..1
        self._dots: list[Dot] = []
        self.arrows: list[tuple[Dot, Dot]] = []  # before and after a training

    def set_session(self, session: Session | None) -> None:
        """Show the history of another session."""
        self._session, self._estimate = session, None
        self.refresh()

    def set_estimate(self, result: Result | None) -> None:
        """Show where the plan under the hand is expected to be."""
        self._estimate = result
        self.refresh()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumSize(fonts.px(316), fonts.px(178))

    def set_limits(self, flash: float | None, least: float | None) -> None:
        """Show the most flash in bytes and the least metric, 0..1."""
        self.limit, self.least = flash, least
        self.update()

    def refresh(self) -> None:
        """Take the session's history again."""
        self._dots = self._collect()
        self.arrows = self._trainings()
        self.setAccessibleDescription("; ".join(_change(*arrow) for arrow in self.arrows))
        self.update()

    def _collect(self) -> list[Dot]:
        if self._session is None:
            return []
        dots = []
        now = self._session.plan.key
        known = self._session.float_result
        size = float_cost(self._session)
        if known is not None and known.value is not None and size is not None:
            dots.append(Dot(None, size.flash_bytes, known.value, "float", known.plan_key))
        for key, measured in self._session.measured.items():
            value = measured.result.value
            if value is not None and not (known is not None and key == known.plan_key):
                flash = measured.result.cost.flash_bytes
                dots.append(Dot(measured, flash, value, "now" if key == now else "past", key))
        guess = self._estimate
        if guess is not None and guess.plan_key == now and guess.plan_key not in self._session.measured:
            value = expected(self._session, guess)
            if value is not None:
                dots.append(Dot(None, guess.cost.flash_bytes, value, "estimate"))
        return dots

    def _trainings(self) -> list[tuple[Dot, Dot]]:
        """Dots before and after each training whose result was used, as far as both were measured."""
        if self._session is None:
            return []
        by_key = {dot.key: dot for dot in self._dots if dot.key}
        taken = self._session.jobs.taken.items()
        return [(by_key[b], by_key[a]) for a, b in taken if a in by_key and b in by_key and a != b]

    # -- scales -----------------------------------------------------------------------------------

    def _ranges(self) -> tuple[float, float, float, float]:
        xs = [math.log2(max(1.0, d.x)) for d in self._dots] or [10.0]
        ys = sorted(d.y for d in self._dots) or [0.0]
        # Hopeless plans would press all others into one line: the lowest tenth may fall off the scale.
        low = ys[len(ys) // 10] if len(ys) > 5 else ys[0]
        spread = max(0.01, ys[-1] - low)
        return min(xs) - 0.15, max(xs) + 0.15, max(0.0, low - 0.15 * spread), min(1.02, ys[-1] + 0.15 * spread)

    def _at(self, dot: Dot) -> QPointF:
        x0, x1, y0, y1 = self._ranges()
        box = self._box()
        x = box.left() + (math.log2(max(1.0, dot.x)) - x0) / (x1 - x0) * box.width()
        share = max(0.0, min(1.0, (dot.y - y0) / (y1 - y0)))
        return QPointF(x, box.bottom() - share * box.height())

    def _box(self) -> QRectF:
        return canvas.area(self).adjusted(LEFT, TOP, -RIGHT, -BOTTOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), canvas.painter(self)
        p.fillRect(canvas.area(self), QColor(t.panel))
        self._head(p, t)
        p.setFont(fonts.small())
        if not self._dots:
            p.setPen(QColor(t.text2))
            text = (
                "Every measured plan becomes a dot here." if self._session else "Open a network to see its trade-off."
            )
            p.drawText(canvas.area(self), Qt.AlignmentFlag.AlignCenter, text)
            p.end()
            return
        self._axes(p, t)
        self._pareto(p, t)
        for before, after in self.arrows:
            self._arrow(p, t, self._at(before), self._at(after))
        for dot in sorted(self._dots, key=lambda d: ("past", "float", "estimate", "now").index(d.kind)):
            self._dot(p, t, dot)
        p.end()

    def _axes(self, p: QPainter, t: theme.Tokens) -> None:
        x0, x1, y0, y1 = self._ranges()
        box = self._box()
        values = round_values(100 * y0, min(100.0, 100 * y1))
        for value, text in zip(values, labels(values), strict=True):
            y = box.bottom() - (value / 100 - y0) / (y1 - y0) * box.height()
            p.setPen(QPen(QColor(t.line), 1))
            p.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            p.setPen(QColor(t.text2))
            middle = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            p.drawText(QRectF(0, y - 8, LEFT - 6, 16), middle, f"{text} %")
        for tick in _ticks(2**x0 / 1024, 2**x1 / 1024):
            x = box.left() + (math.log2(tick * 1024) - x0) / (x1 - x0) * box.width()
            p.drawText(QRectF(x - 40, box.bottom() + 4, 80, 15), Qt.AlignmentFlag.AlignHCenter, f"{tick:g}")
        p.drawText(QRectF(box.left(), box.bottom() + 18, box.width(), 16), Qt.AlignmentFlag.AlignRight, "flash, KiB")
        self._limits(p, t, box)

    def _limits(self, p: QPainter, t: theme.Tokens, box: QRectF) -> None:
        """Most flash as a line, least metric as dashes, both only where they lie on the scale."""
        x0, x1, y0, y1 = self._ranges()
        p.setPen(QPen(QColor(t.text), 1.2, Qt.PenStyle.DashLine))
        if self.least and y0 < self.least < y1:
            y = box.bottom() - (self.least - y0) / (y1 - y0) * box.height()
            p.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            low = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
            p.drawText(QRectF(box.left(), y - 18, box.width(), 16), low, f"min {100 * self.least:g} %")
        x = box.left() + (math.log2(self.limit) - x0) / (x1 - x0) * box.width() if self.limit else 0.0
        if box.left() < x < box.right():
            p.setPen(QPen(QColor(t.text), 1.6))
            p.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
            text = f"max {(self.limit or 0) / 1024:g} KiB"
            room = box.right() - x > p.fontMetrics().horizontalAdvance(text) + 6
            place = QRectF(x + 5, box.bottom() - 18, 140, 16) if room else QRectF(x - 145, box.bottom() - 18, 140, 16)
            p.drawText(place, Qt.AlignmentFlag.AlignLeft if room else Qt.AlignmentFlag.AlignRight, text)

    def _head(self, p: QPainter, t: theme.Tokens) -> None:
        """Title and legend."""
        whole = canvas.area(self)
        p.setFont(fonts.section())
        p.setPen(QColor(t.text))
        p.drawText(QRectF(12, 8, 200, 20), Qt.AlignmentFlag.AlignVCenter, "Accuracy over flash")
        left = 12 + p.fontMetrics().horizontalAdvance("Accuracy over flash") + 10
        p.setFont(fonts.small())
        x, names = whole.right() - RIGHT, ["Pareto", "estimate", *(["training"] if self.arrows else []), "now"]
        while names and x - sum(p.fontMetrics().horizontalAdvance(name) + 34 for name in names) < left - 14:
            del names[0]
        for name in names:
            width = p.fontMetrics().horizontalAdvance(name)
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(x - width, 8, width, 20), Qt.AlignmentFlag.AlignVCenter, name)
            self._mark(p, t, name, QPointF(x - width - 12, 18))
            x -= width + 34

    def _mark(self, p: QPainter, t: theme.Tokens, name: str, at: QPointF) -> None:
        if name == "Pareto":
            p.setPen(QPen(QColor(t.ok), 1.6))
            p.drawLine(at - QPointF(8, 0), at + QPointF(6, 0))
            return
        if name == "training":
            self._arrow(p, t, at - QPointF(8 + GAP, 0), at + QPointF(7 + GAP, 0))
            return
        p.setPen(QPen(QColor(t.compressed), 2.2))
        p.setBrush(QColor(t.compressed if name == "now" else t.panel))
        p.drawEllipse(at, 5, 5)

    def _pareto(self, p: QPainter, t: theme.Tokens) -> None:
        line, best = QPolygonF(), -1.0
        for dot in sorted((d for d in self._dots if d.kind != "estimate"), key=lambda d: (d.x, -d.y)):
            if dot.y > best:
                best = dot.y
                line.append(self._at(dot))
        p.setPen(QPen(QColor(t.ok), 1.6))
        p.drawPolyline(line)

    def _arrow(self, p: QPainter, t: theme.Tokens, start: QPointF, end: QPointF) -> None:
        """From beside one dot to beside another; nothing where they lie too near to tell."""
        way = QLineF(start, end)
        if way.length() < 2 * GAP + HEAD / 2:
            return
        step = (end - start) / way.length()
        tip, side = end - step * GAP, QPointF(-step.y(), step.x()) * HEAD / 2
        p.setPen(QPen(QColor(t.lane1), 2))
        p.drawLine(start + step * GAP, tip - step * HEAD / 2)
        p.setBrush(QColor(t.lane1))
        p.setPen(Qt.PenStyle.NoPen)
        p.drawPolygon(QPolygonF([tip, tip - step * HEAD + side, tip - step * HEAD - side]))

    def _dot(self, p: QPainter, t: theme.Tokens, dot: Dot) -> None:
        at = self._at(dot)
        if dot.kind == "float":
            star = QPolygonF()
            for i in range(10):
                r, a = (8 if i % 2 == 0 else 3.5), math.pi * i / 5 - math.pi / 2
                star.append(at + QPointF(r * math.cos(a), r * math.sin(a)))
            p.setPen(Qt.PenStyle.NoPen)
            p.setBrush(QColor(t.float_))
            p.drawPolygon(star)
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(at.x() - 60, at.y() + 8, 66, 16), Qt.AlignmentFlag.AlignRight, "float")
            return
        small = dot.kind == "past"
        p.setPen(QPen(QColor(t.float_ if small else t.compressed), 1.3 if small else 2.5))
        p.setBrush(QColor(t.compressed if dot.kind == "now" else t.panel))
        p.drawEllipse(at, 4 if small else 6, 4 if small else 6)

    # -- mouse ------------------------------------------------------------------------------------

    def _under(self, at: QPointF) -> Dot | None:
        near = [(math.dist((at.x(), at.y()), (self._at(d).x(), self._at(d).y())), d) for d in self._dots]
        distance, dot = min(near, key=lambda pair: pair[0], default=(NEAR + 1, None))
        return dot if distance <= NEAR else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        dot = self._under(canvas.at(event.position()))
        on = dot is not None and dot.measured is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if on else Qt.CursorShape.ArrowCursor)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        dot = self._under(canvas.at(event.position()))
        if dot is not None and dot.measured is not None:
            self.picked.emit(dot.measured)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            dot = self._under(canvas.at(QPointF(event.pos())))
            if dot is not None:
                changes = [_change(*arrow) for arrow in self.arrows if arrow[1] is dot]
                QToolTip.showText(event.globalPos(), "\n".join([_tip(dot), *changes]), self)
            return True
        return super().event(event)


def _tip(dot: Dot) -> str:
    size = f"{dot.x / 1024:,.1f} KiB, {100 * dot.y:.2f} %"
    if dot.measured is None:
        return f"float model: {size}" if dot.kind == "float" else f"estimate: {size}"
    samples = dot.measured.result.samples
    return f"{dot.measured.label}\n{size} on {samples:,} samples\nClick to go back to this plan"


def _change(before: Dot, after: Dot) -> str:
    """What a training did."""
    sizes = f"{before.x / 1024:,.1f} to {after.x / 1024:,.1f} KiB"
    return f"Training: {100 * before.y:.2f} to {100 * after.y:.2f} % ({100 * (after.y - before.y):+.2f} pt), {sizes}"


def _ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers of KiB, at most seven, between two bounds."""
    found: list[float] = [m * 10.0**e for e in range(-2, 7) for m in (1, 2, 5)]
    inside = [v for v in found if low <= v <= high]
    if len(inside) < 2:
        step = 10 ** math.floor(math.log10(max(1e-9, (high - low) / 2)))
        inside = [
            round(low / step) * step + i * step for i in range(1, 6) if round(low / step) * step + i * step < high
        ]
    return inside[:: max(1, len(inside) // 6)]
