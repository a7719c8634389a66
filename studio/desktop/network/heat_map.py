"""Measured sensitivity at a glance: a row a layer, a column a technique and strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QPushButton, QWidget

from studio.desktop import cells, fonts, theme
from studio.desktop.network.charts import ramp
from studio.desktop.network.list_panel import ListPanel
from studio.desktop.network.row_painter import SHOWN_POINTS
from studio.engine.sensitivity import CASES, SensitivityTable

if TYPE_CHECKING:
    from studio.session import Session

BRIGHT = 150
"""Lightness, 0 to 255, of a cell from which its text is dark."""
TITLE = "Points that each layer costs alone"


class HeatMap(ListPanel):
    """Cells are tinted like the graph, from 0 to 1 point lost. `asked()` = measure."""

    asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        titles = [text.replace(" ", "\n", 1) for text in ("Layer", *CASES)]
        super().__init__("heat-map", cells.table(titles, "Points lost by layer and technique"), parent)
        self._shown: SensitivityTable | None = None
        self.button = QPushButton("Measure")
        self.button.setToolTip("Runs the network with each layer compressed alone, in every way (Ctrl+B)")
        self.button.clicked.connect(lambda _=False: self.asked.emit())
        self.head.addWidget(self.button)
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.table.verticalHeader().setDefaultSectionSize(fonts.px(24))
        metrics = self.table.horizontalHeader().fontMetrics()
        for column, case in enumerate(CASES, 1):
            title = max(metrics.horizontalAdvance(word) for word in case.split(" ", 1))
            self.table.setColumnWidth(column, max(fonts.px(66), title + fonts.px(16)))

    def retint(self) -> None:
        """Tint the cells in the colours of the theme."""
        self._shown = None
        self._show()

    def set_session(self, session: Session | None) -> None:
        """Show the table of another session."""
        self._shown = None
        self.button.setEnabled(session is not None and session.data is not None)
        layers = session.graph.weighted if session is not None else ()
        self._resize(0)
        self._resize(len(layers))
        for i, layer in enumerate(layers):
            cells.write(self.table, i, 0, layer.name, layer.detail)
            for column, step in enumerate((make() for make in CASES.values()), 1):
                reason = step.found.refuses(layer, step.values)
                if reason is not None:
                    cells.write(self.table, i, column, "–", reason)
        super().set_session(session)

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
