"""All weighted layers as a sortable table, selection shared with the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QResizeEvent, QStandardItemModel
from PySide6.QtWidgets import QHeaderView, QStyledItemDelegate, QStyleOptionViewItem, QTableView, QWidget

from studio.desktop import fonts, theme
from studio.desktop.network.figures import LayerRow
from studio.desktop.network.row_painter import count

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("Layer", "Kind", "Params", "MACs", "KiB", "Bits", "Sparse", "SQNR dB", "Sens. pt")
BAR_COLUMNS = {4: "compressed", 7: "updating", 8: "sensitivity"}
WITH_KIND = 720
"""Width from which the table has room for the kind of a layer."""
WIDTHS = {1: 84, 2: 70, 3: 68, 4: 80, 5: 40, 6: 60, 7: 80, 8: 80}
"""Widths of the columns behind the name, which takes the rest."""
SORT_ROLE = Qt.ItemDataRole.UserRole
SHARE_ROLE = Qt.ItemDataRole.UserRole + 1


class LayerModel(QStandardItemModel):
    """Rows of the table. Texts are kept by Qt: painting a cell asks nothing of Python."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for column in range(len(COLUMNS)):
            side = Qt.AlignmentFlag.AlignLeft if column < 2 else Qt.AlignmentFlag.AlignRight
            flags = side | Qt.AlignmentFlag.AlignVCenter
            self.setHeaderData(column, Qt.Orientation.Horizontal, flags, Qt.ItemDataRole.TextAlignmentRole)
        self.rows: list[LayerRow] = []
        self._tops: dict[int, float] = {}

    def set_rows(self, rows: list[LayerRow]) -> None:
        """Show other layers."""
        self.rows = list(rows)
        self.setRowCount(0)
        self.setRowCount(len(rows))
        self._tops = {column: self._top(column) for column in BAR_COLUMNS}
        for i in range(len(rows)):
            self._fill(i, range(len(COLUMNS)))

    def update_rows(self, rows: list[LayerRow]) -> None:
        """Replace the rows of these layers; only cells that differ are touched."""
        places = {row.name: i for i, row in enumerate(self.rows)}
        for row in rows:
            i = places[row.name]
            old, self.rows[i] = self.rows[i].values(), row
            self._fill(i, [c for c, value in enumerate(row.values()) if value != old[c]])
        for column in BAR_COLUMNS:
            top = self._top(column)
            if top != self._tops[column]:
                self._tops[column] = top
                for i in range(len(self.rows)):
                    self._fill(i, [column])

    def update_points(self, points: Callable[[str], float | None]) -> None:
        """Show newly measured points of all layers."""
        self.update_rows([replace(row, points=points(row.name)) for row in self.rows])

    def _top(self, column: int) -> float:
        return max((row.values()[column] or 0 for row in self.rows), default=0)

    def _fill(self, i: int, columns: Iterable[int]) -> None:
        values = self.rows[i].values()
        for column in columns:
            self.setItemData(self.index(i, column), self._roles(column, values[column]))

    def _roles(self, column: int, value: Any) -> dict[int, Any]:
        """What a cell holds. Values, not items: items replaced from Python have crashed Qt when rows went away."""
        side = Qt.AlignmentFlag.AlignRight if column >= 2 else Qt.AlignmentFlag.AlignLeft
        share = None
        if column in self._tops and value is not None:
            share = float(value) / self._tops[column] if self._tops[column] else 0.0
        return {
            Qt.ItemDataRole.DisplayRole: _text(column, value),
            Qt.ItemDataRole.TextAlignmentRole: (side | Qt.AlignmentFlag.AlignVCenter).value,
            SORT_ROLE: value if value is not None else -math.inf,
            SHARE_ROLE: share,
        }


def _text(column: int, value: Any) -> str:
    if value is None:
        return "float" if column == 5 else "–"
    formats = {2: "{:,}", 4: "{:,.1f}", 6: "{:.0f} %", 7: "{:.1f}", 8: "{:.2f}"}
    if column == 3:
        return count(value)
    scaled = value / 1024 if column == 4 else 100 * value if column == 6 else value
    return formats.get(column, "{}").format(scaled)


class BarDelegate(QStyledItemDelegate):
    """A small bar at the left of a number."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        share = index.data(SHARE_ROLE)
        if share is None:
            return
        t = theme.tokens()
        rect = QRectF(option.rect)
        room = max(0.0, min(34.0, rect.width() / fonts.factor() - 50)) * fonts.factor()
        box = QRectF(rect.left() + 4, rect.center().y() - 6, room, 12)
        kind = BAR_COLUMNS[index.column()]
        color = t.sensitivity[2] if kind == "sensitivity" else getattr(t, kind)
        painter.fillRect(box, QColor(t.sunken))
        painter.fillRect(QRectF(box.left(), box.top(), box.width() * share, box.height()), QColor(color))


class LayerTable(QTableView):
    """Sorts by click on a header; `picked(names, current)` tells of a selection by the user."""

    picked = Signal(list, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("layers")
        self.setAccessibleName("Layers")
        self.layers = LayerModel(self)
        self.sorted = QSortFilterProxyModel(self)
        self.sorted.setSourceModel(self.layers)
        self.sorted.setSortRole(SORT_ROLE)
        self.sorted.setDynamicSortFilter(False)  # sorted once for many changes, by `update_rows`
        self.sorted.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self.sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(4, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
        for column in BAR_COLUMNS:  # the others are painted without Python
            self.setItemDelegateForColumn(column, BarDelegate(self))
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.rescale()
        self.selectionModel().selectionChanged.connect(self._picked)
        self._following = False

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.verticalHeader().setDefaultSectionSize(fonts.px(26))
        self.horizontalHeader().setMinimumSectionSize(fonts.px(38))
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, fonts.px(width))

    def set_rows(self, rows: list[LayerRow]) -> None:
        """Show the layers of another network."""
        self.layers.set_rows(rows)
        header = self.horizontalHeader()
        self.sorted.sort(header.sortIndicatorSection(), header.sortIndicatorOrder())

    def update_rows(self, rows: list[LayerRow]) -> None:
        """Show new figures of some layers."""
        self.layers.update_rows(rows)
        header = self.horizontalHeader()
        self.sorted.sort(header.sortIndicatorSection(), header.sortIndicatorOrder())

    def set_compact(self, compact: bool) -> None:
        """Drop MACs where the window is small."""
        self.setColumnHidden(3, compact)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.setColumnHidden(1, self.width() < fonts.px(WITH_KIND))

    def follow(self, names: list[str]) -> None:
        """Select what the graph has selected."""
        self._following = True
        self.clearSelection()
        selection = self.selectionModel()
        for i, row in enumerate(self.layers.rows):
            if row.name in names:
                index = self.sorted.mapFromSource(self.layers.index(i, 0))
                selection.select(index, selection.SelectionFlag.Select | selection.SelectionFlag.Rows)
                self.scrollTo(index)
        self._following = False

    def _picked(self) -> None:
        if self._following:
            return
        rows = [self.sorted.mapToSource(i).row() for i in self.selectionModel().selectedRows()]
        names = [self.layers.rows[row].name for row in rows]
        if names:
            current = self.sorted.mapToSource(self.currentIndex()).row()
            name = self.layers.rows[current].name if 0 <= current < len(self.layers.rows) else names[-1]
            self.picked.emit(names, name if name in names else names[-1])
