"""Left side of the Train tab: which jobs, what they would train, how long, and every setting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from studio.core import registry
from studio.core.errors import StudioError
from studio.core.jobspec import JobSpec
from studio.desktop.train.form import JobForm
from studio.desktop.train.recipe import RecipeList


class Setup(QWidget):
    """`changed()`: other jobs or settings are shown; `edited(jobs, label, gesture)`: the plan's recipe is to change.

    `hold_asked(on)`: the chosen job of the recipe is to keep the steps that the plan has now, or no longer.
    """

    changed = Signal()
    edited = Signal(object, str, object)
    hold_asked = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._gesture = 0  # counts drags: one of them is one entry of undo
        self.recipe = RecipeList()
        self.recipe.chosen.connect(lambda _: self._show_chosen())
        self.recipe.edited.connect(lambda jobs, label: self._edit(jobs, label, None))
        self.job = QComboBox()
        self.job.setAccessibleName("Training job")
        for name in registry.names("jobs"):
            self.job.addItem(registry.find("jobs", name).title, name)
        self.job.activated.connect(lambda _: self._replace(JobSpec(self.job.currentData()), None))
        self.help, self.facts, self.time = QLabel(), QLabel(), QLabel()
        for label in (self.help, self.facts, self.time):
            label.setWordWrap(True)
        self.facts.setObjectName("secondary")
        self.hold = QCheckBox("Keep the steps that the plan has now")
        self.hold.setToolTip(
            "While this job runs the network is compressed as the plan says now, whatever the plan becomes later: "
            "prune first, share later. Off: the whole plan"
        )
        self.hold.clicked.connect(self.hold_asked)
        self.measure = QPushButton("Measure")
        self.form = JobForm()
        self.form.changed.connect(self._set)
        self.start = QPushButton("Start training")
        self.start.setObjectName("primary")
        self._lay_out()
        self._show_chosen()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 12, 8, 12)
        row = QHBoxLayout()
        row.addWidget(self.time, 1)
        row.addWidget(self.measure)
        for widget in (self.recipe, self.job, self.help, self.hold, self.facts):
            layout.addWidget(widget)
        layout.addLayout(row)
        layout.addWidget(self.form, 1)
        layout.addWidget(self.start)

    def show_recipe(self, jobs: tuple[JobSpec, ...]) -> None:
        """Show the recipe that a plan has."""
        self.recipe.show_jobs(jobs)
        self._show_chosen()

    def show_alone(self, spec: JobSpec) -> None:
        """Make the job that is trained alone another one, and show it where it is the chosen one."""
        self.recipe.set_alone(spec)
        self._show_chosen()

    def set_value(self, name: str, value: Any, final: bool = True) -> None:
        """Change a setting of the chosen job as its control does."""
        self._set(name, value, final)
        self._show_chosen()

    def say(self, text: str, refused: bool) -> None:
        """Show what would be trained, or why nothing can be."""
        self.facts.setText(text)
        self.facts.setObjectName("warn" if refused else "secondary")
        self.facts.style().polish(self.facts)

    def _set(self, name: str, value: Any, final: bool) -> None:
        spec = self.recipe.spec
        try:
            spec = replace(spec, settings={**spec.settings, name: value})
        except StudioError as error:
            self.say(str(error), True)
            return
        gesture = ("job", self.recipe.row, name, self._gesture)
        self._gesture += final
        self._replace(spec, gesture, f"recipe: {name} of {spec.job}")

    def _replace(self, spec: JobSpec, gesture: object, label: str = "") -> None:
        """Make the chosen job another one."""
        if self.recipe.row:
            at = self.recipe.row - 1
            jobs = (*self.recipe.jobs[:at], spec, *self.recipe.jobs[at + 1 :])
            self._edit(jobs, label or f"recipe: {spec.job}", gesture)
        else:
            self.show_alone(spec)

    def _edit(self, jobs: tuple[JobSpec, ...], label: str, gesture: object) -> None:
        self.edited.emit(jobs, label, gesture)

    def _show_chosen(self) -> None:
        """Show the chosen job."""
        spec, row = self.recipe.spec, self.recipe.row
        self.job.setCurrentIndex(self.job.findData(spec.job))
        self.help.setText(registry.find("jobs", spec.job).help)
        self.form.show_job(spec.job, spec.values.model_dump())
        self.hold.setVisible(row > 0)
        self.hold.setChecked(bool(spec.layers or spec.groups))
        count = len(self.recipe.jobs)
        self.start.setText("Start training" if not row else f"Start the recipe ({count} job{'s' if count > 1 else ''})")
        self.changed.emit()
