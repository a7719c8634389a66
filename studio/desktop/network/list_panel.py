"""What the lists below the graph share: one table under a line of text, filled again when it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QTableWidget, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from studio.session import Session

REFRESH_MS = 250


class ListPanel(QWidget):
    """Base of a list of layers. `picked(name)`: show that layer. A subclass says in `_show` what is there."""

    picked = Signal(str)

    def __init__(self, name: str, table: QTableWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._session: Session | None = None
        self.table = table
        self.text = QLabel()
        self.text.setObjectName("secondary")
        self.text.setWordWrap(True)  # else a long sentence would widen the panel, and squeeze its neighbours
        self.head = QHBoxLayout()
        self.head.addWidget(self.text, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 0)
        layout.addLayout(self.head)
        layout.addWidget(table)
        table.currentCellChanged.connect(lambda row, *_: self._pick(row))
        self._stale = QTimer(self, interval=REFRESH_MS, singleShot=True)
        self._stale.timeout.connect(self._show)

    def set_session(self, session: Session | None) -> None:
        """Show the list of another session."""
        self._session = session
        self._show()

    def refresh(self) -> None:
        """Show what is known again, soon; while it is hidden, when it is shown."""
        if self.isVisible() and not self._stale.isActive():
            self._stale.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def layer(self, row: int) -> str:
        """Layer that a row is about: its first cell."""
        item = self.table.item(row, 0) if row >= 0 else None
        return item.text() if item is not None else ""

    def _resize(self, rows: int) -> None:
        """Change the number of rows: where that moves the current one, nobody has picked it."""
        self.table.blockSignals(True)
        self.table.setRowCount(rows)
        self.table.blockSignals(False)

    def _pick(self, row: int) -> None:
        name = self.layer(row)
        if name:
            self.picked.emit(name)

    def _show(self) -> None:
        raise NotImplementedError
