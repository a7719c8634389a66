"""Which layers cost the most, measured, with the cure beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.core.plan import Step
from studio.engine.sensitivity import CASES, SensitivityRow

if TYPE_CHECKING:
    from studio.session import Session

COLUMNS = ("Layer", "alone", "spared", "samples", "Cure")


@dataclass(frozen=True)
class Cure:
    """What to do about a costly layer."""

    text: str
    step: Step


def cure(row: SensitivityRow) -> Cure:
    """Return the mildest change that takes the cost away: more bits, less pruning, or float."""
    if row.case == "int4":
        return Cure("8 bits here", Step("quantize", weight_bits=8))
    if row.technique == "prune_weights":
        return Cure("no pruning here", Step.off("SPARSE"))
    return Cure("leave in float", Step.off("GRID"))


class BlamePanel(QWidget):
    """Measured shares of all layers under one case, the most harmful first.

    `picked(name)`: show that layer; `cured(name, step)`: apply the cure.
    """

    picked = Signal(str)
    cured = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("blame")
        self._session: Session | None = None
        self.case = QComboBox()
        self.case.addItems(list(CASES))
        self.case.setCurrentText("int4")
        self.case.setAccessibleName("Case to blame layers for")
        self.case.currentTextChanged.connect(lambda _: self.refresh())
        self.button = QPushButton("Measure")
        self.button.setToolTip("Runs the network with each layer compressed alone, and with each layer spared (Ctrl+B)")
        self.button.setShortcut("Ctrl+B")
        self.button.clicked.connect(self._measure)
        self.text = QLabel()
        self.text.setObjectName("secondary")
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.setAccessibleName("Points that each layer costs")
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(26)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.itemSelectionChanged.connect(self._pick)
        head = QHBoxLayout()
        head.addWidget(self.text, 1)
        head.addWidget(self.case)
        head.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 0)
        layout.addLayout(head)
        layout.addWidget(self.table)

    def set_session(self, session: Session | None) -> None:
        """Show the table of another session."""
        self._session = session
        self.button.setEnabled(session is not None and session.data is not None)
        self.refresh()

    def refresh(self) -> None:
        """Show the measured table again."""
        table = self._session.blame if self._session else None
        rows = table.blame(self.case.currentText()) if table else []
        self.table.setRowCount(len(rows))
        if table is None:
            self.text.setText("Which layers cost the most? Measured on your data, each layer alone and each spared.")
            return
        self.text.setText(f"points against float, on {table.samples} samples; 95 % interval in the tooltip")
        for i, row in enumerate(rows):
            self._fill(i, row, table.find(row.layer, row.case, "spared"), table.samples)

    def _fill(self, i: int, row: SensitivityRow, spared: SensitivityRow | None, samples: int) -> None:
        texts = [row.layer, _points(row.delta), _points(spared.delta) if spared else "–", f"{samples}"]
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, row.layer)
            if column:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column == 1 and row.interval:
                item.setToolTip(f"{100 * row.interval[0]:+.2f} to {100 * row.interval[1]:+.2f} points")
            if column == 2:
                item.setToolTip("What leaving this layer in float wins back when all others are compressed")
            self.table.setItem(i, column, item)
        if row.delta < 0:
            found = cure(row)
            button = QPushButton(found.text)
            button.setAccessibleName(f"{found.text}: {row.layer}")
            button.clicked.connect(lambda _=False: self.cured.emit(row.layer, found.step))
            self.table.setCellWidget(i, 4, button)
        else:
            self.table.removeCellWidget(i, 4)

    def _measure(self) -> None:
        if self._session is not None:
            self._session.measure_blame()

    def _pick(self) -> None:
        items = self.table.selectedItems()
        if items:
            self.picked.emit(items[0].data(Qt.ItemDataRole.UserRole))


def _points(delta: float) -> str:
    return f"{100 * delta:+.2f} pt".replace("-", "−")
