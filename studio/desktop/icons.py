"""Icons drawn by the project: 18 px, stroke 1.5, tinted by the theme."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from studio.desktop import theme

PATHS = {
    "open": "M2.5 5v9.5h13V7h-7L7 5z",
    "data": "M3 3h5v5H3z M10 3h5v5h-5z M3 10h5v5H3z M10 10h5v5h-5z",
    "undo": "M6 4 2.8 7.2 6 10.4 M3 7.2h7.2a4 4 0 0 1 0 8H7",
    "redo": "M12 4l3.2 3.2L12 10.4 M15 7.2H7.8a4 4 0 0 0 0 8H11",
    "export": "M9 11.5V2.8 M5.6 6 9 2.6 12.4 6 M3 11v4.2h12V11",
    "theme": "M9 2.5a6.5 6.5 0 1 0 0 13z M9 2.5a6.5 6.5 0 0 1 0 13",
    "size": "M2 14 6 4l4 10 M3.4 10.6h5.2 M11 14l2.4-6 2.4 6 M11.8 12h3.2",
    "help": "M9 2.5a6.5 6.5 0 1 0 .01 0 M6.9 7a2.1 2.1 0 1 1 3.1 1.8c-.7.4-1 .8-1 1.6 M9 12.9v.2",
    "network": "M5 3.5a1.6 1.6 0 1 0 .01 0 M5 11.3a1.6 1.6 0 1 0 .01 0 M13 7.4a1.6 1.6 0 1 0 .01 0 M5 6.7v4.6 "
    "M6.4 6c2 .8 3.4 1.4 5 2.4",
    "attention": "M2.5 4h13v10h-13z M6 7h4v4H6z",
    "menu": "M3 5h12 M3 9h12 M3 13h12",
    "save": "M3 3h9l3 3v9H3z M6 3v4h5V3 M6 15v-5h6v5",
    "plan": "M4.5 2.5h6l3 3v10h-9z M6.8 8h4.4 M6.8 11h4.4",
    "home": "M2.8 8.5 9 3l6.2 5.5 M4.8 7.5V15h8.4V7.5",
    "pause": "M6 4v10 M12 4v10",
    "play": "M5.5 3.5v11l9-5.5z",
    "cancel": "M4.5 4.5l9 9 M13.5 4.5l-9 9",
    "check": "M3.5 9.5 7.3 13.3 14.5 5",
    "warning": "M9 2.8 16.2 15H1.8z M9 7.2v3.6 M9 12.9v.1",
    "info": "M9 2.5a6.5 6.5 0 1 0 .01 0 M9 8.2v4.2 M9 5.6v.1",
    "camera": "M2.5 5.5h3l1.2-2h4.6l1.2 2h3v9h-13z M9 7.4a2.6 2.6 0 1 0 .01 0",
    "search": "M8 3.2a4.8 4.8 0 1 0 .01 0 M11.6 11.6 15 15",
    "folder": "M2.5 4h5l1.5 2h6.5v8.5h-13z",
    "up": "M4 11l5-5 5 5",
    "down": "M4 7l5 5 5-5",
    "left": "M11 4 6 9l5 5",
    "right": "M7 4l5 5-5 5",
    "demo": "M5.5 3.5v11l9-5.5z",
    "drop": "M9 2.5v8 M5.8 7.4 9 10.6l3.2-3.2 M2.5 11.5v4h13v-4",
}


def pixmap(name: str, size: int = 18, color: str | None = None, width: float = 1.5) -> QPixmap:
    """Icon as a picture in a colour, by default that of text; `width` of the stroke on the 18 px grid."""
    stroke = color or theme.tokens().text
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 18 18" fill="none" '
        f'stroke-width="{width}" stroke-linecap="round" stroke-linejoin="round" stroke="{stroke}">'
        f'<path d="{PATHS[name]}"/></svg>'
    )
    made = QPixmap(QSize(2 * size, 2 * size))
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, 2 * size, 2 * size))
    painter.end()
    made.setDevicePixelRatio(2.0)
    return made


def icon(name: str, color: str | None = None) -> QIcon:
    """Icon in the theme's colours, paler where disabled."""
    made = QIcon(pixmap(name, color=color))
    made.addPixmap(pixmap(name, color=theme.tokens().disabled), QIcon.Mode.Disabled)
    return made
