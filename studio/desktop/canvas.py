"""A painter at the type's scale: painted views compute in the pixels of scale 1, whatever a projector needs."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter
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
