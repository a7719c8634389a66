"""Status bar: what runs, how far it is, pause and cancel; what the numbers come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QProgressBar, QPushButton, QStatusBar, QWidget

from studio import __version__
from studio.desktop import fonts, icons, theme
from studio.session.events import Progress

if TYPE_CHECKING:
    from studio.session import Session


class StatusBar(QStatusBar):
    """`paused(bool)`, `cancelled()`."""

    paused = Signal(bool)
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.setContentsMargins(12, 0, 12, 0)
        self.sign = _Sign()
        self.text = QLabel()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.count = QLabel()
        self.pause = QPushButton(icons.icon("pause"), "Pause")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Hold measuring on more samples (Ctrl+P)")
        self.pause.setShortcut("Ctrl+P")
        self.pause.toggled.connect(self._pause)
        self.cancel = QPushButton(icons.icon("cancel"), "Cancel")
        self.cancel.setToolTip("Stop what runs; the last answers stay (Ctrl+.)")
        self.cancel.setShortcut("Ctrl+.")
        self.cancel.clicked.connect(self.cancelled)
        self.facts = QLabel()
        for widget in (self.sign, self.text, self.bar, self.count, self.pause, self.cancel):
            self.addWidget(widget)
        for button in (self.pause, self.cancel):
            button.setObjectName("small")
        self.addPermanentWidget(self.facts)
        self.rescale()
        self.show_session(None)
        self.show_progress(None)

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setFixedHeight(fonts.px(30))
        self.bar.setFixedWidth(fonts.px(140))

    def show_progress(self, progress: Progress | None) -> None:
        """Show work that runs, or that nothing does."""
        for widget in (self.bar, self.count, self.cancel):
            widget.setVisible(progress is not None)
        self.pause.setVisible(progress is not None or self.pause.isChecked())
        if progress is None:
            self._show_rest()
            return
        self.sign.show_state("running")
        self.text.setText(fonts.strong(progress.title))
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        self.count.setText(f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else "")

    def _show_rest(self) -> None:
        """Say that the numbers are those of the plan, or that measuring was stopped before."""
        session = self._session
        if session is None:
            self.sign.show_state("none")
            self.text.setText("All work stays on this computer")
            return
        known = session.measured.get(session.plan.key)
        stopped = session.data is not None and (known is None or not known.result.complete)
        self.sign.show_state("running" if stopped else "done")
        self.text.setText(fonts.strong("Preview stopped" if stopped else "Preview up to date"))

    def show_session(self, session: Session | None) -> None:
        """Show data and calibration of a session."""
        self._session = session
        if session is None or session.data is None:
            self.facts.setText("no data" if session else f"Version {__version__}")
            return
        info = session.calibration_info
        text = f"{session.data.name}, {session.data.count:,} samples"
        if info is not None:
            same = ", the evaluation data itself" if info.same_as_evaluation else f" from {info.source} data"
            text += f" · ranges from {info.samples} samples{same}"
        self.facts.setText(text)
        self.facts.setToolTip(session.data.source)

    def retint(self) -> None:
        """Draw the icons in the colours of the theme."""
        self.pause.setIcon(icons.icon("play" if self.pause.isChecked() else "pause"))
        self.cancel.setIcon(icons.icon("cancel"))

    def _pause(self, on: bool) -> None:
        self.pause.setText("Go on" if on else "Pause")
        self.pause.setIcon(icons.icon("play" if on else "pause"))
        self.paused.emit(on)


class _Sign(QWidget):
    """Small square: grey while something runs, coloured when the numbers are those of the plan."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(9, 9)
        self._state = "none"

    def show_state(self, state: str) -> None:
        """Show "running", "done" or "none"."""
        self._state = state
        self.setVisible(state != "none")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.fillRect(self.rect(), QColor(t.updating if self._state == "running" else t.compressed))
        p.end()
