"""The layer graph: rows with lanes, painted only where they are visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from studio.desktop import fonts, theme
from studio.desktop.network.graph_header import HEIGHT, GraphHeader
from studio.desktop.network.graph_model import HEIGHTS, GraphModel
from studio.desktop.network.lanes import Lane
from studio.desktop.network.row_painter import Pictures, RowPainter
from studio.desktop.network.thumbnails import Thumbnails

if TYPE_CHECKING:
    from studio.session import Session

LANE_WIDTH = 22
SPINE_X = 16
ZOOMS = (0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


class GraphView(QAbstractScrollArea):
    """Rows of a network. Click selects, Ctrl and Shift extend, double click or Space folds a block.

    `selection_changed(names, current)` tells of every change of the selection.
    """

    selection_changed = Signal(list, str)
    viewport_moved = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph")
        self.setAccessibleName("Layer graph")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.viewport().setMouseTracking(True)
        self.model: GraphModel | None = None
        self.thumbnails: Thumbnails | None = None
        self.zoom = 1.0
        self.header = GraphHeader(self)
        self._hovered: int | None = None
        self._pictures: Pictures = {}
        self._anchor: str | None = None
        self.verticalScrollBar().valueChanged.connect(lambda _: self.viewport_moved.emit())

    def set_session(self, session: Session | None) -> None:
        """Show another network, or nothing."""
        if self.thumbnails is not None:
            self.thumbnails.close()
        self.model = self.thumbnails = None
        self._pictures = {}
        if session is not None:
            self.model = GraphModel(session)
            self.thumbnails = Thumbnails(session, self)
            self.thumbnails.ready.connect(self.update_layer)
        self._resized()

    def update_layer(self, name: str) -> None:
        """Paint the row of one layer again."""
        if self.model is None:
            return
        row = self.model.row_of(name)
        if row is not None:
            rect = self._row_rect(row)
            top = int(rect.top() * self._scale) - self.verticalScrollBar().value()
            self.viewport().update(0, top - 4, self.viewport().width(), int(rect.height() * self._scale) + 8)

    def select(self, names: list[str], current: str | None) -> None:
        """Select layers from outside and bring the current one into view."""
        if self.model is None:
            return
        self.model.select(names, current)
        if current is not None and self.model.reveal(current) is not None:
            self._resized()
            self.show_layer(current)
        self.viewport().update()
        self.selection_changed.emit(names, current or "")

    def show_layer(self, name: str) -> None:
        """Scroll so that a layer's row is visible."""
        row = self.model.row_of(name) if self.model else None
        if row is None:
            return
        rect, bar = self._row_rect(row), self.verticalScrollBar()
        top, bottom = rect.top() * self._scale - 40, rect.bottom() * self._scale + 40
        if top < bar.value():
            bar.setValue(int(top))
        elif bottom > bar.value() + self.viewport().height():
            bar.setValue(int(bottom - self.viewport().height()))

    def set_zoom(self, zoom: float) -> None:
        """Scale rows; the middle of the view stays."""
        bar = self.verticalScrollBar()
        middle = (bar.value() + self.viewport().height() / 2) / self._scale
        self.zoom = max(ZOOMS[0], min(ZOOMS[-1], zoom))
        self._resized()
        bar.setValue(int(middle * self._scale - self.viewport().height() / 2))

    @property
    def _scale(self) -> float:
        """Pixels on screen for each of a row: zoom and the size of type."""
        return self.zoom * fonts.factor()

    def rescale(self) -> None:
        """Draw at the current size of type."""
        self.setViewportMargins(0, fonts.px(HEIGHT), 0, 0)
        self.header.setGeometry(0, 0, self.width(), fonts.px(HEIGHT))
        self._resized()

    def step_zoom(self, by: int) -> None:
        """Next larger (1) or smaller (-1) zoom."""
        nearest = min(range(len(ZOOMS)), key=lambda i: abs(ZOOMS[i] - self.zoom))
        self.set_zoom(ZOOMS[max(0, min(len(ZOOMS) - 1, nearest + by))])

    def fit(self) -> None:
        """Scale so that all rows are visible, down to the smallest zoom."""
        if self.model is not None:
            self.set_zoom(self.viewport().height() / fonts.factor() / max(1, self.model.height))

    def toggle_block(self, block: str) -> None:
        """Open or collapse one block."""
        if self.model is not None:
            self.model.toggle(block)
            self._resized()

    def collapse_all(self, collapsed: bool) -> None:
        """Open or collapse all blocks."""
        if self.model is not None:
            self.model.collapse_all(collapsed)
            self._resized()

    def resizeEvent(self, event: QEvent) -> None:
        self.rescale()
        if self.model is not None and self.model.current is not None:
            self.show_layer(self.model.current)

    def _resized(self) -> None:
        height = int(self.model.height * self._scale) if self.model else 0
        bar = self.verticalScrollBar()
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(24)
        bar.setRange(0, max(0, height - self.viewport().height()))
        if self.model is None:
            self.header.place(0, 0, 1)
        else:
            self.header.place(self._left(), self._width(), self._scale)
        self.viewport().update()
        self.viewport_moved.emit()

    # -- painting ---------------------------------------------------------------------------------

    def _left(self) -> float:
        assert self.model is not None
        return SPINE_X + LANE_WIDTH * self.model.lanes.width + 6

    def _row_rect(self, row: int) -> QRectF:
        assert self.model is not None
        return QRectF(self._left(), self.model.tops[row], self._width(), HEIGHTS[self.model.rows[row].kind])

    def _width(self) -> float:
        return self.viewport().width() / self._scale - self._left() - 10

    def _lane_x(self, lane: int) -> float:
        assert self.model is not None
        return self._left() - 20 - LANE_WIDTH * lane

    def _row_y(self, row: int) -> float:
        assert self.model is not None
        return self.model.tops[row] + HEIGHTS[self.model.rows[row].kind] / 2

    def paintEvent(self, event: QPaintEvent) -> None:
        t = theme.tokens()
        p = QPainter(self.viewport())
        p.fillRect(self.viewport().rect(), QColor(t.window))
        if self.model is None or self.thumbnails is None:
            p.end()
            return
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.translate(0, -self.verticalScrollBar().value())
        p.scale(self._scale, self._scale)
        top = (self.verticalScrollBar().value() + event.rect().top()) / self._scale
        bottom = (self.verticalScrollBar().value() + event.rect().bottom()) / self._scale
        self._paint_blocks(p, t, top, bottom)
        self._paint_lanes(p, t, top, bottom)
        scale = self._scale * self.devicePixelRatioF()
        painter = RowPainter(self.model, self.thumbnails, t, self._pictures)
        whole = True
        for i, row in enumerate(self.model.rows):
            rect = self._row_rect(i)
            if rect.bottom() < top or rect.top() > bottom:
                continue
            lane = self.model.lanes.of_row[i]
            whole &= painter.paint(p, row, rect, t.line if not lane else t.lane1, self._hovered == i, scale)
            if lane is not None:
                self._paint_node(p, t, i, lane)
        p.end()
        if not whole:
            QTimer.singleShot(0, self.viewport().update)

    def _paint_blocks(self, p: QPainter, t: theme.Tokens, top: float, bottom: float) -> None:
        """Container behind the rows of each open block."""
        assert self.model is not None
        spans: dict[str, tuple[float, float]] = {}
        for i, row in enumerate(self.model.rows):
            if row.block is not None and row.kind != "block":
                rect = self._row_rect(i)
                start, _ = spans.get(row.block, (rect.top(), 0.0))
                spans[row.block] = (start, rect.bottom())
        p.setPen(QPen(QColor(t.line), 1))
        p.setBrush(QColor(t.well))
        for start, end in spans.values():
            if end >= top and start <= bottom:
                box = QRectF(4, start - 3, self.viewport().width() / self._scale - 8, end - start + 7)
                p.drawRoundedRect(box, 5, 5)

    def _paint_lanes(self, p: QPainter, t: theme.Tokens, top: float, bottom: float) -> None:
        assert self.model is not None
        lanes = self.model.lanes
        if not self.model.rows:
            return
        x = self._lane_x(0)
        p.setPen(QPen(QColor(t.lane0), 3))
        p.drawLine(QPointF(x, self._row_y(lanes.spine[0])), QPointF(x, self._row_y(lanes.spine[1])))
        p.setPen(QPen(QColor(t.lane1), 2.5))
        p.setBrush(Qt.BrushStyle.NoBrush)
        for line in lanes.lines:
            if self._row_y(line.end) >= top and self._row_y(line.start) <= bottom:
                p.drawPath(self._lane_path(line))

    def _lane_path(self, line: Lane) -> QPainterPath:
        """Curve that leaves the spine, runs down its lane and joins the spine again."""
        x0, x1 = self._lane_x(0), self._lane_x(line.lane)
        y0, y1 = self._row_y(line.start), self._row_y(line.end)
        bend = min(20.0, (y1 - y0) / 2)
        path = QPainterPath(QPointF(x0, y0))
        path.cubicTo(QPointF(x0 - 2, y0 + bend * 0.5), QPointF(x1, y0 + bend * 0.4), QPointF(x1, y0 + bend))
        path.lineTo(x1, y1 - bend)
        path.cubicTo(QPointF(x1, y1 - bend * 0.4), QPointF(x0 - 2, y1 - bend * 0.5), QPointF(x0, y1))
        return path

    def _paint_node(self, p: QPainter, t: theme.Tokens, row: int, lane: int) -> None:
        assert self.model is not None
        item = self.model.rows[row]
        at = QPointF(self._lane_x(lane), self._row_y(row))
        color = QColor(t.lane1 if lane else t.lane0)
        current = item.kind == "card" and item.layers[0].name == self.model.current
        p.setPen(QPen(QColor(t.accent) if current else color, 2))
        self._connector(p, at, lane)
        p.setBrush(QColor(t.panel))
        if item.kind == "slim" and len(item.layers[0].inputs) > 1:
            p.setBrush(color)
            p.drawEllipse(at, 6, 6)
            p.setPen(QPen(QColor(t.panel), 1.6))
            p.drawLine(at + QPointF(-3, 0), at + QPointF(3, 0))
            p.drawLine(at + QPointF(0, -3), at + QPointF(0, 3))
        elif item.kind == "block":
            p.drawRoundedRect(QRectF(at.x() - 7, at.y() - 7, 14, 14), 3, 3)
            for dy in (-3, 0, 3):
                p.drawLine(at + QPointF(-3, dy), at + QPointF(3, dy))
        else:
            p.drawEllipse(at, 5, 5) if item.kind == "card" else p.drawEllipse(at, 3.5, 3.5)
            if current:
                p.setBrush(QColor(t.accent))
                p.drawEllipse(at, 2.5, 2.5)

    def _connector(self, p: QPainter, at: QPointF, lane: int) -> None:
        """Line from a node to its card; it hops over every lane that it crosses."""
        path = QPainterPath(at)
        for crossed in range(lane - 1, -1, -1):
            x = self._lane_x(crossed)
            path.lineTo(x - 6, at.y())
            path.arcTo(QRectF(x - 6, at.y() - 6, 12, 12), 180, -180)
        path.lineTo(self._left(), at.y())
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.drawPath(path)

    # -- mouse and keyboard -----------------------------------------------------------------------

    def _row_under(self, event: QMouseEvent) -> int | None:
        if self.model is None:
            return None
        return self.model.row_at((event.position().y() + self.verticalScrollBar().value()) / self._scale)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        row = self._row_under(event)
        if row != self._hovered:
            self._hovered = row
            item = self.model.rows[row] if self.model and row is not None else None
            self.viewport().setToolTip(item.layers[0].source if item else "")
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        row = self._row_under(event)
        if self.model is None or row is None or event.button() != Qt.MouseButton.LeftButton:
            return
        item = self.model.rows[row]
        if item.kind in ("header", "block") and event.position().x() / self._scale < self._left() + 30:
            self.toggle_block(item.title)
            return
        names = [layer.name for layer in item.layers if layer.weighted] or [item.layers[0].name]
        self._click(names, event.modifiers())

    def _click(self, names: list[str], modifiers: Qt.KeyboardModifier) -> None:
        assert self.model is not None
        old = list(self.model.selected)
        if modifiers & Qt.KeyboardModifier.ShiftModifier and self._anchor:
            self.select(list(self.model.between(self._anchor, names[0])), names[0])
            return
        if modifiers & Qt.KeyboardModifier.ControlModifier:
            kept = [n for n in old if n not in names] if set(names) <= set(old) else [*old, *names]
            self.select(kept, names[0] if names[0] in kept else (kept[-1] if kept else None))
            return
        self._anchor = names[0]
        self.select(names, names[0])

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        row = self._row_under(event)
        if self.model is not None and row is not None and self.model.rows[row].kind in ("header", "block"):
            self.toggle_block(self.model.rows[row].title)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.step_zoom(1 if event.angleDelta().y() > 0 else -1)
        else:
            super().wheelEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Home: -(10**6), Qt.Key.Key_End: 10**6}
        if self.model is not None and event.key() in steps:
            name = self.model.neighbour(steps[Qt.Key(event.key())])
            if name:
                self._click([name], event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        elif (
            self.model is not None
            and event.key() == Qt.Key.Key_A
            and event.modifiers() & Qt.KeyboardModifier.ControlModifier
        ):
            names = [layer.name for layer in self.model.session.graph.weighted]
            self.select(names, self.model.current or names[0])
        elif self.model is not None and event.key() == Qt.Key.Key_Space and self.model.current:
            row = self.model.row_of(self.model.current)
            block = self.model.rows[row].block if row is not None else None
            if block:
                self.toggle_block(block)
        else:
            super().keyPressEvent(event)
