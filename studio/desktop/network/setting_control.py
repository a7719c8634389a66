"""Controls built from the one declaration of a technique's settings."""

from __future__ import annotations

import math
import re
from typing import Any

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QValidator
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from studio.core.settings import Declared
from studio.desktop import fonts, theme
from studio.desktop.network.setting_text import shows_percent

POSITIONS = 200
"""Positions of a slider over a continuous setting without a step."""
DECADES = 1e3
"""A slider is logarithmic from this ratio of its ends on."""
DIGITS = 10
"""Decimals that a box holds; it shows those that say something."""
_BEGUN = re.compile(r"[-+]?\d*([.,]\d*)?(e[-+]?\d*)?")


class MeasuredSlider(QSlider):
    """Slider with a dashed handle where it stood when the plan was last measured."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._measured: int | None = None

    @property
    def measured(self) -> int | None:
        """Position that was measured last, where the slider has left it."""
        return self._measured if self._measured != self.value() else None

    def show_measured(self, position: int | None) -> None:
        """Mark a position; None for nothing measured."""
        if position != self._measured:
            self._measured = position
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.measured is None:
            return
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(QPen(QColor(t.ctl), 1.2, Qt.PenStyle.DashLine))
        p.drawRoundedRect(self._handle(self.measured), 3, 3)
        p.setPen(QPen(QColor(t.accent), 2))
        p.drawRoundedRect(self._handle(self.value()), 3, 3)
        p.end()

    def _handle(self, position: int) -> QRectF:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        option.sliderPosition = option.sliderValue = position
        part = QStyle.SubControl.SC_SliderHandle
        found = self.style().subControlRect(QStyle.ComplexControl.CC_Slider, option, part, self)
        return QRectF(found).adjusted(1, 1, -1, -1)


class WholeBox(QSpinBox):
    """Box of a whole number, outlined like every other control."""

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _outline(self)


class RealBox(QDoubleSpinBox):
    """Box of a number, outlined like every other control; `0.01`, `0,01` and `1e-2` are the same."""

    def textFromValue(self, value: float) -> str:
        return f"{value:.{4 if abs(value) >= 1e-4 else 2}g}"

    def valueFromText(self, text: str) -> float:
        number = _number(self._own(text))
        return self.value() if number is None else number

    def validate(self, text: str, place: int) -> tuple[QValidator.State, str, int]:
        own = self._own(text)
        number, states = _number(own), QValidator.State
        fits = number is not None and self.minimum() <= number <= self.maximum()
        begun = _BEGUN.fullmatch(own) is not None
        return (states.Acceptable if fits else states.Intermediate if begun else states.Invalid), text, place

    def _own(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().lower()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _outline(self)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _outline(widget: QWidget) -> None:
    """Draw what the style sheet cannot: Qt leaves no room for the text of a box without arrows that has a border."""
    t, p = theme.tokens(), QPainter(widget)
    p.setRenderHint(QPainter.RenderHint.Antialiasing)
    p.setPen(QPen(QColor(t.accent if widget.hasFocus() else t.ctl if widget.isEnabled() else t.line), 1))
    p.drawRoundedRect(QRectF(widget.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
    p.end()


class SettingSlider(QWidget):
    """Slider and value box of one number. `changed(value, final)`: final is False while the hand drags."""

    changed = Signal(object, bool)

    def __init__(self, declared: Declared, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._declared = declared
        low, high = float(declared.low or 0), float(declared.high if declared.high is not None else 1)
        self._low, self._step = low, float(declared.step or (1 if declared.kind == "int" else (high - low) / POSITIONS))
        self._ratio = high / low if low > 0 and declared.step is None and high / low >= DECADES else None
        self.slider = MeasuredSlider()
        self.slider.setRange(0, POSITIONS if self._ratio else round((high - low) / self._step))
        self.slider.setAccessibleName(declared.title)
        self.slider.setToolTip(declared.help)
        self.box = WholeBox() if declared.kind == "int" else RealBox()
        self._percent = shows_percent(declared)
        self._typed_before: float = 0.0
        self._fill_box(low, high)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.box)
        self.slider.valueChanged.connect(self._slid)
        self.slider.sliderReleased.connect(lambda: self.changed.emit(self.value(), True))
        self.box.editingFinished.connect(self._typed)
        self.rescale()

    def _fill_box(self, low: float, high: float) -> None:
        scale = 100 if self._percent else 1
        if isinstance(self.box, QDoubleSpinBox):
            self.box.setDecimals(DIGITS)
        self.box.setRange(*(int(v * scale) if isinstance(self.box, QSpinBox) else v * scale for v in (low, high)))  # type: ignore[arg-type]
        self.box.setSuffix(self._suffix(high))
        self.box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.box.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.box.setAccessibleName(f"{self._declared.title}, value")
        self.box.setToolTip(self._declared.help)

    def _suffix(self, value: float) -> str:
        """Unit behind a value; of one the word without its s."""
        unit = "%" if self._percent else self._declared.unit or ""
        return f" {unit.removesuffix('s') if value == 1 else unit}" if unit else ""

    def rescale(self) -> None:
        """Take room for the current size of type and the widest value with its unit."""
        metrics = self.box.fontMetrics()
        ends = [self.box.textFromValue(end) for end in (self.box.minimum(), self.box.maximum())]  # type: ignore[arg-type]
        widest = max(metrics.horizontalAdvance(f"{end}{self._suffix(math.inf)}") for end in ends)
        self.box.setFixedWidth(max(fonts.px(62), widest + fonts.px(16)))
        self.box.setMinimumHeight(fonts.px(26))
        self.slider.setMinimumWidth(fonts.px(40))

    def value(self) -> int | float:
        """Value of the slider in the setting's own unit."""
        if self._ratio:
            return float(f"{self._low * self._ratio ** (self.slider.value() / POSITIONS):.2g}")
        value = self._low + self.slider.value() * self._step
        return round(value) if self._declared.kind == "int" else round(value, 6)

    def set_value(self, value: float) -> None:
        """Show a value without telling anyone."""
        for widget in (self.slider, self.box):
            widget.blockSignals(True)
        self.slider.setValue(self._position(value))
        self._show(value)
        for widget in (self.slider, self.box):
            widget.blockSignals(False)

    def show_measured(self, value: float | None) -> None:
        """Mark the value that was measured last; None for nothing measured."""
        self.slider.show_measured(None if value is None else self._position(value))

    def _position(self, value: float) -> int:
        if self._ratio:
            return round(POSITIONS * math.log(max(value, self._low) / self._low) / math.log(self._ratio))
        return round((float(value) - self._low) / self._step)

    def _show(self, value: float) -> None:
        self.box.setSuffix(self._suffix(value))
        shown = 100 * value if self._percent else value
        self.box.setValue(round(shown) if isinstance(self.box, QSpinBox) else shown)  # type: ignore[arg-type]
        self._typed_before = self.box.value()

    def _slid(self) -> None:
        self.box.blockSignals(True)
        self._show(self.value())
        self.box.blockSignals(False)
        self.changed.emit(self.value(), not self.slider.isSliderDown())

    def _typed(self) -> None:
        """Take a typed value as it is: it may lie between two places of the slider."""
        if self.box.value() == self._typed_before:
            return
        value = round(self.box.value() / 100 if self._percent else self.box.value(), DIGITS)
        self.set_value(value)
        self.changed.emit(round(value) if self._declared.kind == "int" else value, True)


class SettingField(QWidget):
    """Choice or switch with its title. `changed(value, True)`."""

    changed = Signal(object, bool)

    def __init__(self, declared: Declared, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._declared = declared
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        if declared.kind == "bool":
            self._switch = QCheckBox(declared.title)
            self._switch.toggled.connect(lambda on: self.changed.emit(on, True))
            layout.addWidget(self._switch)
        else:
            self._choice = QComboBox()
            for choice in declared.choices:
                self._choice.addItem(str(choice).replace("_", "-"), choice)
            self._choice.setAccessibleName(declared.title)
            self._choice.activated.connect(lambda i: self.changed.emit(self._choice.itemData(i), True))
            label = QLabel(declared.title)
            label.setBuddy(self._choice)
            layout.addWidget(label)
            layout.addWidget(self._choice)
        self.setToolTip(declared.help)

    def set_value(self, value: Any) -> None:
        """Show a value without telling anyone."""
        if self._declared.kind == "bool":
            self._switch.blockSignals(True)
            self._switch.setChecked(bool(value))
            self._switch.blockSignals(False)
        else:
            self._choice.setCurrentIndex(self._choice.findData(value))


def control(declared: Declared) -> SettingSlider | SettingField:
    """Return the control that fits a setting."""
    return SettingSlider(declared) if declared.kind in ("int", "float") else SettingField(declared)


def allow(widget: QWidget, able: bool, tip: str) -> None:
    """Let a control be used or not; `tip`: what it does, or why it cannot be."""
    widget.setEnabled(able)
    for part in (widget, *widget.findChildren(QWidget)):
        part.setToolTip(tip)
