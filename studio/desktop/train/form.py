"""Settings of one job as controls, made from their one declaration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QWidget,
)

from studio.core import registry
from studio.core.settings import Declared, declared
from studio.desktop.network.setting_control import SettingField, SettingSlider, allow, control
from studio.jobs._base import Job
from studio.jobs._settings import TrainingSettings


class TextField(QWidget):
    """A text, or a file with a button that chooses one. `changed(value, True)` when it was typed or chosen."""

    changed = Signal(object, bool)

    def __init__(self, declared: Declared, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = declared.title
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.edit = QLineEdit()
        self.edit.setAccessibleName(declared.title)
        self.edit.setToolTip(declared.help)
        self.edit.editingFinished.connect(self._edited)
        layout.addWidget(self.edit, 1)
        self.choose = QPushButton("File...")
        self.choose.setAccessibleName(f"Choose a file: {declared.title}")
        self.choose.setToolTip(declared.help)
        self.choose.clicked.connect(lambda _=False: self._browse())
        self.choose.setVisible(declared.kind == "file")
        layout.addWidget(self.choose)
        self._told = ""

    def set_value(self, value: str) -> None:
        """Show a value without telling anyone."""
        self._told = value
        self.edit.setText(value)

    def _edited(self) -> None:
        text = self.edit.text().strip()
        if text != self._told:
            self._told = text
            self.changed.emit(text, True)

    def _browse(self) -> None:
        start = str(Path(self.edit.text()).parent) if self.edit.text() else ""
        found, _ = QFileDialog.getOpenFileName(self, f"Choose a file: {self._title}", start)
        if found:
            self.edit.setText(found)
            self._edited()


Control = SettingSlider | SettingField | TextField


class JobForm(QScrollArea):
    """What can be set on a job, its own settings first. `changed(name, value, final)`."""

    changed = Signal(str, object, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # Tab goes to its controls, and it scrolls to them
        self.controls: dict[str, Control] = {}
        self.shown: tuple[str, Mapping[str, Any]] | None = None  # job, all its values

    def show_job(self, job: str, values: Mapping[str, Any]) -> None:
        """Show a job with its values; controls stay, and keep the focus, while it is the same job."""
        if self.shown is None or self.shown[0] != job:
            self._build(job)
        for name, made in self.controls.items():
            if self.shown is None or self.shown[0] != job or self.shown[1][name] != values[name]:
                made.set_value(values[name])
        self.shown = (job, dict(values))
        self._enable()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._order()  # Qt forgets it where a window takes the form in

    def _build(self, job: str) -> None:
        body = QWidget()
        body.setObjectName("panel")
        form = self._rows = QFormLayout(body)
        form.setContentsMargins(0, 6, 8, 6)
        self.controls = {}
        self._inactive: Mapping[str, str] | None = None
        for setting in in_order(job):
            made: Control = TextField(setting) if setting.kind in ("text", "file") else control(setting)
            made.changed.connect(lambda value, final, name=setting.name: self._tell(name, value, final))
            self.controls[setting.name] = made
            if isinstance(made, SettingField):
                form.addRow(made)
            else:
                form.addRow(setting.title, made)
        self.setWidget(body)
        self._order()

    def _enable(self) -> None:
        """Grey what changes nothing beside the other settings; its tip says why."""
        assert self.shown is not None
        job: Job = registry.find("jobs", self.shown[0])
        inactive = job.inactive(job.settings.model_construct(**self.shown[1]))
        if inactive == self._inactive:  # nearly always: this is called while a hand drags
            return
        self._inactive = inactive
        for setting in declared(job.settings):
            made = self.controls[setting.name]
            for widget in (made, self._rows.labelForField(made)):
                if widget is not None:
                    allow(widget, setting.name not in inactive, inactive.get(setting.name, setting.help))

    def _order(self) -> None:
        """Let Tab go through the controls where the form stands, though they were made last."""
        before: QWidget = self
        for made in self.controls.values():
            for widget in made.findChildren(QWidget):
                reached = widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.focusProxy() is None
                if reached and widget.window() is self.window():  # lists that drop down are windows
                    QWidget.setTabOrder(before, widget)
                    before = widget

    def _tell(self, name: str, value: Any, final: bool) -> None:
        assert self.shown is not None
        self.shown = (self.shown[0], {**self.shown[1], name: value})
        self._enable()
        self.changed.emit(name, value, final)


def in_order(job: str) -> list[Declared]:
    """Settings of a job: epochs, then those that only it has, then what all jobs share."""
    common = TrainingSettings.model_fields
    found = declared(registry.find("jobs", job).settings)
    return sorted(found, key=lambda setting: (setting.name != "epochs", setting.name in common))
