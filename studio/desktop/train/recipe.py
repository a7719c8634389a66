"""The jobs of a plan as a list: one job for now on top, then the recipe in order."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QListWidget, QPushButton, QVBoxLayout, QWidget

from studio.core import registry
from studio.core.jobspec import JobSpec
from studio.desktop import fonts

ROWS, ROW = 3, 24
"""Rows that are seen without scrolling, and the height of one in pixels at scale 1."""

FIRST = JobSpec("retrain")
"""Job that is offered as long as nothing else was chosen."""


class RecipeList(QWidget):
    """Row 0 is the job that is trained alone, the others are the recipe's.

    `chosen(row)`; `edited(jobs, label)` when the recipe is to become another one.
    """

    chosen = Signal(int)
    edited = Signal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.alone = FIRST
        self.jobs: tuple[JobSpec, ...] = ()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._head())
        self.list = QListWidget()
        self.list.setObjectName("jobs")
        self.list.setAccessibleName("Jobs")
        self.list.setToolTip("The first row is trained alone, on the plan as it is; the others are the plan's recipe")
        self.list.currentRowChanged.connect(self._choose)
        layout.addWidget(self.list)
        for key, act in (("Del", self.remove), ("Alt+Up", lambda: self.shift(-1)), ("Alt+Down", lambda: self.shift(1))):
            short = QShortcut(QKeySequence(key), self.list, context=Qt.ShortcutContext.WidgetShortcut)
            short.activated.connect(act)
        self.show_jobs(())

    def _head(self) -> QHBoxLayout:
        title = QLabel("Jobs")
        title.setObjectName("section")
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(title, 1)
        self.buttons: dict[str, QPushButton] = {}
        for name, tip, act in (
            ("Add", "Add this job to the plan's recipe, with its settings", self.add),
            ("Remove", "Take the chosen job out of the recipe (Del)", self.remove),
            ("Up", "Run the chosen job earlier (Alt+Up)", lambda: self.shift(-1)),
            ("Down", "Run the chosen job later (Alt+Down)", lambda: self.shift(1)),
        ):
            button = QPushButton(name)
            button.setToolTip(tip)
            button.setAccessibleName(f"{name}: recipe")
            button.clicked.connect(lambda _=False, act=act: act())
            self.buttons[name] = button
            row.addWidget(button)
        return row

    @property
    def row(self) -> int:
        """Chosen row; 0 for the job alone."""
        return max(0, self.list.currentRow())

    @property
    def spec(self) -> JobSpec:
        """Chosen job."""
        return self.jobs[self.row - 1] if self.row else self.alone

    @property
    def to_start(self) -> tuple[JobSpec, ...]:
        """What the start button starts: the job alone, or none, which means the whole recipe."""
        return () if self.row else (self.alone,)

    def show_jobs(self, jobs: Sequence[JobSpec], row: int | None = None) -> None:
        """Show a recipe; `row` is to be chosen, by default the one that was."""
        row = min(self.row if row is None else row, len(jobs))
        self.jobs = tuple(jobs)
        texts = [f"Alone: {line(self.alone)}", *(f"{i}. {line(spec)}" for i, spec in enumerate(jobs, 1))]
        self.list.blockSignals(True)
        self.list.clear()
        self.list.addItems(texts)
        self.list.setCurrentRow(row)
        self.list.blockSignals(False)
        self.rescale()
        self._enable()

    def rescale(self) -> None:
        """Take room for the rows, up to three of them."""
        self.list.setFixedHeight(fonts.px(ROW) * min(ROWS, self.list.count()) + 10)

    def set_alone(self, spec: JobSpec) -> None:
        """Make the job that is trained alone another one."""
        self.alone = spec
        self.list.item(0).setText(f"Alone: {line(spec)}")

    def add(self) -> None:
        """Add a copy of the chosen job behind it; the job alone goes to the end."""
        at = self.row or len(self.jobs)
        self._edit((*self.jobs[:at], self.spec, *self.jobs[at:]), f"recipe: add {self.spec.job}", at + 1)

    def remove(self) -> None:
        """Take the chosen job out."""
        if self.row:
            at = self.row - 1
            jobs = (*self.jobs[:at], *self.jobs[at + 1 :])
            self._edit(jobs, f"recipe: remove {self.spec.job}", min(self.row, len(jobs)))

    def shift(self, by: int) -> None:
        """Run the chosen job earlier (-1) or later (1)."""
        at, to = self.row - 1, self.row - 1 + by
        if self.row and 0 <= to < len(self.jobs):
            jobs = list(self.jobs)
            jobs[at], jobs[to] = jobs[to], jobs[at]
            self._edit(tuple(jobs), f"recipe: move {self.spec.job}", to + 1)

    def _edit(self, jobs: tuple[JobSpec, ...], label: str, row: int) -> None:
        self.edited.emit(jobs, label)
        self.list.setCurrentRow(min(row, self.list.count() - 1))

    def _choose(self, row: int) -> None:
        self._enable()
        self.chosen.emit(row)

    def _enable(self) -> None:
        self.buttons["Remove"].setEnabled(self.row > 0)
        self.buttons["Up"].setEnabled(self.row > 1)
        self.buttons["Down"].setEnabled(0 < self.row < len(self.jobs))


def line(spec: JobSpec) -> str:
    """One job in a line."""
    title = str(registry.find("jobs", spec.job).title)
    epochs = getattr(spec.values, "epochs", None)
    length = "" if epochs is None else f", {epochs} epoch{'s' if epochs > 1 else ''}"
    return title + length + (", steps of its own" if spec.layers or spec.groups else "")
