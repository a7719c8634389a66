"""A painter at the type's scale: painted views compute in the pixels of scale 1, whatever a projector needs."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QMouseEvent, QPainter
from PySide6.QtWidgets import QWidget

from studio.desktop import fonts


def painter(widget: QWidget) -> QPainter:
    """Antialiased painter of a widget, in pixels of scale 1."""
    p = QPainter(widget)
    p.setRenderHint(QPainter.RenderHint.Antialiasing)
    p.scale(fonts.factor(), fonts.factor())
    return p


def area(widget: QWidget) -> QRectF:
    """Area of a widget in pixels of scale 1."""
    return QRectF(0, 0, widget.width() / fonts.factor(), widget.height() / fonts.factor())


def at(point: QPointF) -> QPointF:
    """Place of a mouse event in pixels of scale 1."""
    return point / fonts.factor()


class Draggable(QWidget):
    """Base of a painted view in which something is dragged: `_drag(event, final)` takes it to the mouse."""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._drag(event, False)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._drag(event, False)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag(event, True)

    def _drag(self, event: QMouseEvent, final: bool) -> None:
        raise NotImplementedError
