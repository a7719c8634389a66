"""Measured sensitivity at a glance: a row a layer, a column a technique and strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QColor, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.desktop import cells, fonts, theme
from studio.desktop.network.charts import ramp
from studio.desktop.network.row_painter import SHOWN_POINTS
from studio.engine.sensitivity import CASES, SensitivityTable

if TYPE_CHECKING:
    from studio.session import Session

REFRESH_MS = 250
BRIGHT = 150
"""Lightness, 0 to 255, of a cell from which its text is dark."""
TITLE = "Points that each layer costs alone"


class HeatMap(QWidget):
    """Cells are tinted like the graph, from 0 to 1 point lost. `picked(name)`; `asked()` = measure."""

    picked = Signal(str)
    asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("heat-map")
        self._session: Session | None = None
        self._shown: SensitivityTable | None = None
        self.text = QLabel()
        self.text.setObjectName("secondary")
        self.button = QPushButton("Measure")
        self.button.setToolTip("Runs the network with each layer compressed alone, in every way (Ctrl+B)")
        self.button.clicked.connect(lambda _=False: self.asked.emit())
        self.table = QTableWidget(0, 1 + len(CASES))
        self.table.setAccessibleName("Points lost by layer and technique")
        for column, text in enumerate(("Layer", *CASES)):
            header = QTableWidgetItem(text.replace(" ", "\n", 1))
            side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
            header.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
            self.table.setHorizontalHeaderItem(column, header)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        self.table.currentCellChanged.connect(lambda row, *_: self._pick(row))
        head = QHBoxLayout()
        head.addWidget(self.text, 1)
        head.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 0)
        layout.addLayout(head)
        layout.addWidget(self.table)
        self._stale = QTimer(self, interval=REFRESH_MS, singleShot=True)
        self._stale.timeout.connect(self._show)
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.table.verticalHeader().setDefaultSectionSize(fonts.px(24))
        for column in range(1, self.table.columnCount()):
            self.table.setColumnWidth(column, fonts.px(66))

    def retint(self) -> None:
        """Tint the cells in the colours of the theme."""
        self._shown = None
        self._show()

    def set_session(self, session: Session | None) -> None:
        """Show the table of another session."""
        self._session, self._shown = session, None
        self.button.setEnabled(session is not None and session.data is not None)
        layers = session.graph.weighted if session is not None else ()
        self.table.setRowCount(0)
        self.table.setRowCount(len(layers))
        for i, layer in enumerate(layers):
            cells.write(self.table, i, 0, layer.name, layer.detail)
        self._show()

    def refresh(self) -> None:
        """Show the measured table again, soon; while it is hidden, when it is shown."""
        if self.isVisible() and not self._stale.isActive():
            self._stale.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def _show(self) -> None:
        table = self._session.blame if self._session is not None else None
        self.text.setText(f"{TITLE}, on {table.samples:,} samples" if table else f"{TITLE}: not measured yet")
        if table is self._shown or self._session is None:
            return
        known = {(r.layer, r.case) for r in self._shown.rows} if self._shown else set()
        rows = {layer.name: i for i, layer in enumerate(self._session.graph.weighted)}
        columns = {case: 1 + i for i, case in enumerate(CASES)}
        for row in table.rows if table else ():
            if row.mode == "alone" and row.case in columns and (row.layer, row.case) not in known:
                self._fill(rows[row.layer], columns[row.case], row.delta, f"{row.layer}, {row.case}")
        self._shown = table

    def _fill(self, i: int, column: int, delta: float, what: str) -> None:
        t = theme.tokens()
        text = f"{100 * delta:+.2f}".replace("-", "−")
        item = cells.write(self.table, i, column, text, f"{what}: {text} points against the float model")
        color = QColor(ramp(t.sensitivity, -100 * delta / SHOWN_POINTS))
        item.setBackground(color)
        item.setForeground(QColor("#141A21" if color.lightness() > BRIGHT else "#FFFFFF"))

    def _pick(self, row: int) -> None:
        item = self.table.item(row, 0) if row >= 0 else None
        if item is not None:
            self.picked.emit(item.text())
