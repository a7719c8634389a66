"""The line of a card that says what changed since the last measurement."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from studio.desktop import canvas, fonts, theme
from studio.desktop.gauge import State, draw_swatch
from studio.desktop.network.since import Since

SIDE = 11


class SinceLine(QWidget):
    """`8 → 4 bit: −11.8 KiB · −0.12 pt` behind the sign of an estimate, or of a number that is being measured."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sign, self._label = _Sign(), QLabel()
        self._label.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(22, 0, 4, 2)
        row.setSpacing(6)
        row.addWidget(self._sign)
        row.addWidget(self._label, 1)
        self.hide()

    @property
    def text(self) -> str:
        """What is said, empty where nothing changed."""
        return self._label.text()

    def show_since(self, since: Since | None) -> None:
        """Show a change, or nothing."""
        numbers = [] if since is None else numbers_of(since)
        self._sign.show_state(since.state if since is not None and numbers else "empty")
        text = "" if since is None else since.text + (f": {fonts.strong(' · '.join(numbers))}" if numbers else "")
        self._label.setText(text)
        self.setToolTip("" if since is None else f"Whole model against the last measurement: {known(since)}")


def known(since: Since) -> str:
    """Where the numbers come from."""
    if since.points is None:
        return "bytes are counted"
    points = f"on {since.samples:,} samples so far" if since.state == "updating" else "estimated"
    return f"bytes are counted, points {points}"


def numbers_of(since: Since) -> list[str]:
    """Differences with their units, those that are known."""
    found = [] if since.bytes is None else [f"{since.bytes / 1024:+,.1f} KiB"]
    found += [] if since.points is None else [f"{100 * since.points:+.2f} pt"]
    return [text.replace("-", "−") for text in found]


class _Sign(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._state: State = "empty"

    def show_state(self, state: State) -> None:
        """Show the sign of a state."""
        self._state = state
        self.setFixedSize(fonts.px(SIDE), fonts.px(SIDE))
        self.setVisible(state != "empty")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        p = canvas.painter(self)
        draw_swatch(p, theme.tokens(), QRectF(0.5, 0.5, SIDE - 1, SIDE - 1), self._state)
        p.end()
