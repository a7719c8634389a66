"""Qt's tables as all views have them, and their cells.

Cells are filled in place: replacing items from Python has crashed Qt when rows were removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem


def table(columns: Sequence[str], name: str, tips: Sequence[str] = (), left: Collection[int] = (0,)) -> QTableWidget:
    """Table to read only: the first column takes the room; titles stand over their cells.

    `name`: for screen readers; `tips`: of the titles; `left`: columns of texts, the others hold numbers.
    """
    made = QTableWidget(0, len(columns))
    made.setAccessibleName(name)
    for column, title in enumerate(columns):
        item = QTableWidgetItem(title)
        item.setToolTip(tips[column] if tips else "")
        item.setTextAlignment(_side(column in left))
        made.setHorizontalHeaderItem(column, item)
    made.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    made.verticalHeader().hide()
    made.setShowGrid(False)
    made.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    made.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    made.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
    made.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
    return made


def write(
    table: QTableWidget, row: int, column: int, text: str, tip: str = "", *, left: bool = False
) -> QTableWidgetItem:
    """Show a text, numbers (every column but the first, unless `left`) at the right; returns the cell's item."""
    item = table.item(row, column)
    if item is None:
        item = QTableWidgetItem()
        table.setItem(row, column, item)
    item.setText(text)
    item.setToolTip(tip)
    item.setTextAlignment(_side(left or not column))
    return item


def _side(left: bool) -> Qt.AlignmentFlag:
    return (Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight) | Qt.AlignmentFlag.AlignVCenter
