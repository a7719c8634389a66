"""One technique on the selected layer: switch, slider, value, effect; its other settings below."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from studio.core import registry
from studio.core.plan import Step
from studio.core.settings import declared, strength_of
from studio.desktop import theme
from studio.desktop.network.setting_control import SettingField, SettingSlider, control
from studio.session.events import Effect


class TechniqueCard(QFrame):
    """Card of one technique. `changed(step, final)` for a new setting, `switched(on)` for the check box."""

    changed = Signal(object, bool)
    switched = Signal(bool)

    def __init__(self, technique: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.technique = technique
        self.found = registry.find("techniques", technique)
        self.setObjectName(f"card-{technique}")
        self.setToolTip(self.found.help)
        self._step = Step(technique)
        self._on = False
        self.check = QCheckBox(self.found.title)
        self.check.setAccessibleName(f"{self.found.title} on or off")
        self.check.setMinimumWidth(96)
        self.check.toggled.connect(self.switched)
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.effect = QLabel()
        self.effect.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.effect.setMinimumWidth(70)
        self.more = QToolButton()
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setAutoRaise(True)
        self.more.setCheckable(True)
        self.more.setAccessibleName(f"More settings of {self.found.title}")
        self.more.toggled.connect(self._unfold)
        self.controls: dict[str, SettingSlider | SettingField] = {}
        self._build()

    def _build(self) -> None:
        main = strength_of(self.found.settings)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.check)
        self.details = QWidget()
        grid = QGridLayout(self.details)
        grid.setContentsMargins(22, 0, 4, 2)
        others = 0
        for setting in declared(self.found.settings):
            made = control(setting)
            made.changed.connect(lambda value, final, name=setting.name: self._set(name, value, final))
            self.controls[setting.name] = made
            if main is not None and setting.name == main.name:
                top.addWidget(made, 1)
            else:
                grid.addWidget(made, others // 2, others % 2)
                others += 1
        top.addWidget(self.reason, 1)
        top.addWidget(self.effect)
        top.addWidget(self.more)
        self.more.setVisible(others > 0)
        self.details.hide()
        self.reason.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 5, 6, 5)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.details)

    def show_step(self, step: Step | None, reason: str | None) -> None:
        """Show the layer's step (None = off) or the reason why it cannot take one."""
        self._on = step is not None
        self._step = step or Step(self.technique)
        values = self._step.values
        main = strength_of(self.found.settings)
        self.check.blockSignals(True)
        self.check.setChecked(self._on)
        self.check.blockSignals(False)
        self.check.setEnabled(reason is None)
        self.reason.setText(reason or "")
        self.reason.setVisible(reason is not None)
        inactive = self.found.inactive(values)
        for setting in declared(self.found.settings):
            made = self.controls[setting.name]
            made.set_value(getattr(values, setting.name))
            made.setEnabled(reason is None and setting.name not in inactive)
            for widget in (made, *made.findChildren(QWidget)):
                widget.setToolTip(inactive.get(setting.name, setting.help))
        if main is not None:
            self.controls[main.name].setVisible(reason is None)
            self.controls[main.name].setEnabled(self._on and main.name not in inactive)
        if not self._on:
            self.effect.setText("" if reason else "off")
        self.update()

    def show_effect(self, effect: Effect | None) -> None:
        """Show what the step changes for the whole model; None while it is not known."""
        if effect is None or not self._on:
            self.effect.setText("off" if not self._on and not self.reason.text() else "")
            return
        points = "" if effect.points is None else f"<br>{100 * effect.points:+.2f} pt".replace("-", "−")
        size = f"{effect.bytes / 1024:+,.1f} KiB".replace("-", "−")
        color = theme.tokens().bad if effect.bytes > 0 else theme.tokens().text
        self.effect.setText(f'<b style="color:{color}">{size}</b>{points}')
        self.effect.setToolTip(f"Whole model with this step minus without it, on {effect.samples} samples")

    def _unfold(self, on: bool) -> None:
        self.details.setVisible(on)
        self.more.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

    def _set(self, name: str, value: Any, final: bool) -> None:
        self._step = self._step.with_settings(**{name: value})
        self.changed.emit(self._step, final)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        p.setPen(QPen(QColor(t.line), 1))
        p.setBrush(QColor(t.panel))
        p.drawRoundedRect(box, 4, 4)
        if self._on:
            p.fillRect(QRectF(1, 3, 4, self.height() - 6), QColor(t.technique(self.technique)))
        p.end()
