"""Which layers cost the most, measured, with the cure beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget

from studio.core.plan import Step
from studio.desktop import cells, fonts
from studio.desktop.network.list_panel import ListPanel
from studio.engine.sensitivity import BASIC, SensitivityRow

if TYPE_CHECKING:
    from studio.session import Session

COLUMNS = ("Layer", "Alone", "Spared", "Cure")
TIPS = (
    "", "Points against the float model when only this layer is compressed",
    "What leaving this layer in float wins back when all others are compressed", "One click changes the plan",
)  # fmt: skip
BUTTONS = 30
"""Cures are offered for this many layers: every button takes time on the main thread."""
HELP = "Runs the network with each layer compressed alone, and with each layer spared (Ctrl+B)"


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


class BlamePanel(ListPanel):
    """Measured shares of all layers under one case, the most harmful first.

    `cured(name, step)`: apply the cure.
    """

    cured = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        table = cells.table(COLUMNS, "Points that each layer costs", TIPS, left=(0, 3))
        table.setAlternatingRowColors(True)
        super().__init__("blame", table, parent)
        self.case = QComboBox()
        self.case.addItems(list(BASIC))
        self.case.setCurrentText("int4")
        self.case.setAccessibleName("Case to blame layers for")
        self.case.currentTextChanged.connect(lambda _: self._show())
        self.button = QPushButton("Measure")
        self.button.setToolTip(HELP)
        self.button.clicked.connect(self.measure)
        self.head.addWidget(self.case)
        self.head.addWidget(self.button)
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.table.verticalHeader().setDefaultSectionSize(fonts.px(28))
        for column, width in ((1, 90), (2, 90), (3, 130)):
            self.table.setColumnWidth(column, fonts.px(width))

    def set_session(self, session: Session | None) -> None:
        """Show the table of another session."""
        able = session is not None and session.data is not None
        self.button.setEnabled(able)
        self.button.setToolTip(HELP if able else "Measuring needs evaluation data: open some with the network.")
        super().set_session(session)

    def _show(self) -> None:
        table = self._session.blame if self._session else None
        rows = table.blame(self.case.currentText()) if table else []
        self._resize(len(rows))
        if table is None:
            self.text.setText("Which layers cost the most? Measured on your data, each layer alone and each spared.")
            return
        self.text.setText(f"Points of accuracy on {table.samples:,} samples; 95 % interval in the tooltip")
        for i, row in enumerate(rows):
            self._fill(i, row, table.find(row.layer, row.case, "spared"))

    def _fill(self, i: int, row: SensitivityRow, spared: SensitivityRow | None) -> None:
        texts = [row.layer, _points(row.delta), _points(spared.delta) if spared else "–"]
        spread = f"{_points(row.interval[0])} to {_points(row.interval[1])}" if row.interval else ""
        for column, (text, tip) in enumerate(zip(texts, ("", spread, TIPS[2]), strict=True)):
            cells.write(self.table, i, column, text, tip)
        self._offer(i, row)

    def _offer(self, i: int, row: SensitivityRow) -> None:
        """Put the cure's button beside a layer that costs something; one that is there already stays."""
        if row.delta >= 0 or i >= BUTTONS:
            self.table.removeCellWidget(i, 3)
            return
        found = cure(row)
        name, old = f"{found.text}: {row.layer}", self.table.cellWidget(i, 3)
        if old is not None and old.accessibleName() == name:
            return
        button = QPushButton(found.text)
        button.setObjectName("small")
        button.setAccessibleName(name)
        button.clicked.connect(lambda _=False: self.cured.emit(row.layer, found.step))
        self.table.setCellWidget(i, 3, button)

    def measure(self) -> None:
        """Measure every layer's share, in the background; what is known stays."""
        if self._session is not None and self.button.isEnabled():
            self._session.measure_blame()


def _points(delta: float) -> str:
    return f"{100 * delta:+.2f} pt".replace("-", "−")
