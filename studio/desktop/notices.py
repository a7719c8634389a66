"""One channel for everything that goes wrong or should be known; never a dead window."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMessageBox, QPushButton, QToolButton, QVBoxLayout, QWidget

from studio.desktop import icons
from studio.session.events import Notice

INFO_MS = 6000
"""How long a notice stays that needs no decision."""
SHOWN = 3
"""Notices on screen at once; older ones go first."""


class Notices(QObject):
    """Signals notices from any thread; installed as the hook for exceptions that nothing caught."""

    told = Signal(Notice)

    def install(self) -> None:
        """Take over Python's hooks for uncaught exceptions in all threads."""
        sys.excepthook = self._uncaught
        threading.excepthook = lambda a: self._uncaught(a.exc_type, a.exc_value, a.exc_traceback)

    def uninstall(self) -> None:
        """Give the hooks back."""
        sys.excepthook = sys.__excepthook__
        threading.excepthook = threading.__excepthook__

    def tell(self, notice: Notice) -> None:
        """Show a notice; may be called from any thread."""
        self.told.emit(notice)

    def tell_error(self, error: BaseException) -> None:
        """Show an exception as a notice."""
        from studio.session.session import notice_of

        self.told.emit(notice_of(error))

    def _uncaught(self, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error or kind(), trace)
            return
        self.tell_error(error or kind())


class NoticeBar(QWidget):
    """The newest notices, one line each, at the top of the window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("notices")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(8, 0, 8, 0)
        self._layout.setSpacing(4)

    def show_notice(self, notice: Notice, action: tuple[str, Any] | None = None) -> None:
        """Add a line; `action`: text of a button and what it does."""
        line = _Line(notice, action, self)
        line.closed.connect(lambda: self._layout.removeWidget(line))
        self._layout.addWidget(line)
        lines = self.lines()
        if len(lines) > SHOWN:
            lines[0].close()
        if notice.level == "info" and action is None:
            QTimer.singleShot(INFO_MS, line, line.close)

    def lines(self) -> list[QWidget]:
        """Lines on screen, the oldest first."""
        found = (self._layout.itemAt(i) for i in range(self._layout.count()))
        return [w for item in found if item is not None and (w := item.widget()) is not None]

    def texts(self) -> list[str]:
        """Texts on screen."""
        return [line.notice.text for line in self.lines() if isinstance(line, _Line)]

    def clear(self) -> None:
        """Close all lines."""
        for line in self.lines():
            line.close()


class _Line(QFrame):
    closed = Signal()

    def __init__(self, notice: Notice, action: tuple[str, Any] | None, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.notice = notice
        self.setObjectName("notice")
        self.setProperty("level", notice.level)
        sign = QLabel({"info": "i", "warning": "⚠", "error": "✕"}[notice.level])
        sign.setObjectName("notice-sign")
        sign.setProperty("level", notice.level)
        text = QLabel(notice.text)
        text.setWordWrap(True)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 6, 5)
        row.addWidget(sign)
        row.addWidget(text, 1)
        if action is not None:
            button = QPushButton(action[0])
            button.clicked.connect(action[1])
            button.clicked.connect(self.close)
            row.addWidget(button)
        if notice.detail:
            details = QPushButton("Details")
            details.clicked.connect(self._details)
            row.addWidget(details)
        close = QToolButton()
        close.setIcon(icons.icon("cancel"))
        close.setToolTip("Close this notice")
        close.setAccessibleName("Close this notice")
        self._close = close
        close.clicked.connect(self.close)
        row.addWidget(close)

    def closeEvent(self, event: QCloseEvent) -> None:
        super().closeEvent(event)
        self.closed.emit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_close"):
            self._close.setIcon(icons.icon("cancel"))

    def _details(self) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Details", self.notice.text, parent=self.window())
        box.setDetailedText(self.notice.detail)
        copy = box.addButton("Copy", QMessageBox.ButtonRole.ActionRole)
        box.addButton(QMessageBox.StandardButton.Close)
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(f"{self.notice.text}\n\n{self.notice.detail}"))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
