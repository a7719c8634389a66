"""One technique on the selected layer: switch, slider, value, effect; its other settings below."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core import registry
from studio.core.plan import Step
from studio.core.settings import declared, strength_of
from studio.desktop import fonts, icons, theme
from studio.desktop.network.setting_control import SettingField, SettingSlider, allow, control
from studio.desktop.network.since import Since
from studio.desktop.network.since_line import SinceLine
from studio.session.events import Effect

SKIPPED = "Skipped"
"""Said of a step that the plan has for a layer and the layer does not take."""


class TechniqueCard(QFrame):
    """Card of one technique.

    `changed(step, final)` for a new setting, `switched(on)` for the check box, `action_asked()` for the
    button beside the note.
    """

    changed = Signal(object, bool)
    switched = Signal(bool)
    action_asked = Signal()

    def __init__(self, technique: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.technique = technique
        self.found = registry.find("techniques", technique)
        self.setObjectName(f"card-{technique}")
        self.setToolTip(self.found.help)
        self._step = Step(technique)
        self._on = False
        self._reason = ""  # why the layer cannot take the technique at all
        self._left_out = False
        self._effect: Effect | None = None
        self._shown: object = None
        self.check = QCheckBox(self.found.title)
        self.check.setAccessibleName(f"{self.found.title} on or off")
        self.check.toggled.connect(self._switched)
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.skipped = QLabel()
        self.skipped.setObjectName("secondary")
        self.skipped.setWordWrap(True)
        self.skipped.setContentsMargins(22, 0, 4, 2)
        self.skipped.hide()
        self.since = SinceLine()
        self.effect = QLabel()
        self.effect.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.more = QToolButton()
        self.more.setObjectName("chevron")
        self.more.setAutoRaise(True)
        self.more.setToolTip("More settings")
        self.more.setCheckable(True)
        self.more.setAccessibleName(f"More settings of {self.found.title}")
        self.more.toggled.connect(self._unfold)
        self.controls: dict[str, SettingSlider | SettingField] = {}
        self._build_note()
        self._build()
        self.retint()
        self.rescale()

    @property
    def on(self) -> bool:
        """True where the layer has a step of this technique."""
        return self._on

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.effect.setMinimumWidth(fonts.px(64))

    def retint(self) -> None:
        """Draw icons and numbers in the colours of the theme."""
        self.more.setIcon(icons.icon("down" if self.more.isChecked() else "right"))
        self.show_effect(self._effect)

    def _build_note(self) -> None:
        self.note, self._note_text, self.action = QWidget(), QLabel(), QPushButton()
        self._note_text.setObjectName("secondary")
        self._note_text.setWordWrap(True)
        self.action.setObjectName("small")
        self.action.clicked.connect(lambda _=False: self.action_asked.emit())
        row = QHBoxLayout(self.note)
        row.setContentsMargins(22, 0, 4, 2)
        row.addWidget(self._note_text, 1)
        row.addWidget(self.action)
        self.note.hide()

    def _build(self) -> None:
        main = strength_of(self.found.settings)
        top = QHBoxLayout()
        top.setSpacing(4)
        top.addWidget(self.check)
        self.details = QWidget()
        form = QFormLayout(self.details)
        form.setContentsMargins(22, 0, 4, 2)
        others = 0
        for setting in declared(self.found.settings):
            made = control(setting)
            made.changed.connect(lambda value, final, name=setting.name: self._set(name, value, final))
            self.controls[setting.name] = made
            if main is not None and setting.name == main.name:
                top.addWidget(made, 1)
            else:
                others += 1
                if isinstance(made, SettingSlider):
                    form.addRow(setting.title, made)
                else:
                    form.addRow(made)
        top.addWidget(self.reason, 1)
        top.addWidget(self.effect, 1 if main is None else 0)
        top.addWidget(self.more)
        kept = self.more.sizePolicy()
        kept.setRetainSizeWhenHidden(True)  # so that numbers of all cards stand in one column
        self.more.setSizePolicy(kept)
        self.more.setVisible(others > 0)
        self.details.hide()
        self.reason.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 5, 6, 5)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.details)
        layout.addWidget(self.since)
        layout.addWidget(self.skipped)
        layout.addWidget(self.note)

    @property
    def step(self) -> Step:
        """Step that is shown, or would be switched on."""
        return self._step

    def show_note(self, text: str, action: str = "", tip: str = "") -> None:
        """Say more about this layer below the slider, with a button or without; nothing for an empty text."""
        self._note_text.setText(text)
        self._note_text.setVisible(bool(text))
        self.action.setText(action)
        self.action.setToolTip(tip)
        self.action.setVisible(bool(action))
        self.note.setVisible(bool(text or action))

    def show_skipped(self, reason: str) -> None:
        """Say why a step that the plan has for this layer is not taken; nothing for an empty text."""
        text = f"{SKIPPED}: {reason}" if reason else ""
        self.reason.setText((text or self._reason) if self._reason else "")
        self.skipped.setText(text)
        self.skipped.setVisible(bool(text) and not self._reason)
        self._left_out = bool(reason)
        self.show_effect(self._effect)

    def show_since(self, measured: Step | None, since: Since | None) -> None:
        """Mark the step that was measured last (None: there was none), and show what changed since; None: nothing."""
        main = strength_of(self.found.settings)
        if main is not None:
            mine = measured is not None and measured.technique == self.technique and since is not None
            slider = self.controls[main.name]
            assert isinstance(slider, SettingSlider)
            slider.show_measured(getattr(measured.values, main.name) if mine and measured is not None else None)
        self.since.show_since(since)
        self.since.setVisible(since is not None and self.more.isChecked())

    def change(self, name: str, value: Any, final: bool) -> None:
        """Set one setting as its control would."""
        self._set(name, value, final)

    def show_step(self, step: Step | None, reason: str | None, replaces: Step | None = None) -> None:
        """Show the layer's step (None = off) or the reason why it cannot take one.

        `replaces`: the step of another technique of the same stage, which this one would push out.
        """
        shown = (step, reason, replaces)
        if shown == self._shown:  # most cards, at most changes: a plan changes while a hand drags
            return
        self._shown = shown
        self._on = step is not None
        self._step = step or Step(self.technique)
        values = self._step.values
        main = strength_of(self.found.settings)
        self.check.blockSignals(True)
        self.check.setChecked(self._on)
        self.check.blockSignals(False)
        self.check.setEnabled(reason is None)
        instead = f"\nTakes the place of {replaces.found.title}." if replaces is not None else ""
        self.check.setToolTip(reason or self.found.help + instead)
        self._reason = reason or ""
        self.reason.setText(self._reason)
        self.reason.setVisible(reason is not None)
        self.effect.setVisible(reason is None)
        inactive = self.found.inactive(values)
        for setting in declared(self.found.settings):
            made = self.controls[setting.name]
            made.set_value(getattr(values, setting.name))
            allow(made, reason is None and setting.name not in inactive, inactive.get(setting.name, setting.help))
        if main is not None:
            self.controls[main.name].setVisible(reason is None)
            self.controls[main.name].setEnabled(self._on and main.name not in inactive)
        self.show_effect(None)
        self.update()

    def show_effect(self, effect: Effect | None) -> None:
        """Show what the step changes for the whole model; None while it is not known."""
        self._effect = effect
        if effect is None or not self._on:
            off = f'<span style="color:{theme.tokens().text2}">{"skipped" if self._left_out else "off"}</span>'
            self.effect.setText(off if not self._on and not self.reason.text() else "")
            self.effect.setToolTip("")
            return
        points = "" if effect.points is None else f"<br>{100 * effect.points:+.2f} pt".replace("-", "−")
        size = f"{effect.bytes / 1024:+,.1f} KiB".replace("-", "−")
        color = theme.tokens().bad if effect.bytes > 0 else theme.tokens().text
        self.effect.setText(f'<span style="color:{color};font-weight:600">{size}</span>{points}')
        self.effect.setToolTip(f"Whole model with this step minus without it, on {effect.samples} samples")

    def _unfold(self, on: bool) -> None:
        self.details.setVisible(on)
        self.since.setVisible(on and bool(self.since.text))
        self.more.setIcon(icons.icon("down" if on else "right"))
        self.update()

    def _switched(self, on: bool) -> None:
        self._shown = None
        self.switched.emit(on)

    def _set(self, name: str, value: Any, final: bool) -> None:
        self._shown = None  # a refusal must set the control back
        self._step = self._step.with_settings(**{name: value})
        self.changed.emit(self._step, final)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        is_open = self.more.isChecked()
        p.setPen(QPen(QColor(t.soft_line if is_open else t.line), 1))
        p.setBrush(QColor(t.soft if is_open else t.panel))
        p.drawRoundedRect(box, 4, 4)
        if self._on:
            p.fillRect(QRectF(1, 3, 4, self.height() - 6), QColor(t.technique(self.technique)))
        p.end()
