"""Cells of Qt's tables are filled in place: replacing items from Python has crashed Qt when rows were removed."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTableWidget, QTableWidgetItem


def write(table: QTableWidget, row: int, column: int, text: str, tip: str = "") -> QTableWidgetItem:
    """Show a text, numbers (every column but the first) at the right; returns the cell's item."""
    item = table.item(row, column)
    if item is None:
        item = QTableWidgetItem()
        table.setItem(row, column, item)
    item.setText(text)
    item.setToolTip(tip)
    side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
    item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
    return item
