"""Selector, its settings, the window and the wake-up gate."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from studio.core import registry
from studio.core.settings import declared
from studio.desktop import fonts
from studio.desktop.attention.pictures import GateChart
from studio.desktop.attention.worker import Choice, Measurement
from studio.desktop.network.setting_control import SettingSlider, control

THRESHOLD = "threshold"
GATE = "Frames whose score is below the threshold do not wake the network; switched off, every frame does"
NO_GATE = "This selector gives no score: every frame wakes the network"


class SelectorPanel(QScrollArea):
    """`changed(final)`: something was set; `choice()` says what. `used()`: put the stage into the plan."""

    changed = Signal(bool)
    used = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("selector-panel")
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self._values: dict[str, dict[str, Any]] = {}
        self._form: QFormLayout | None = None
        self._wake_at = 0  # where the gate stood when it was switched off
        self._scores: tuple[float, ...] = ()  # of the frames that hold the class, measured last
        body = QWidget()
        body.setObjectName("inspector-body")
        self._layout = QVBoxLayout(body)
        self._layout.setContentsMargins(14, 12, 14, 12)
        self.setWidget(body)
        self._layout.addWidget(_section("Selector", "page-title"))
        self.group = QButtonGroup(self)
        for name in sorted(registry.names("attention"), key=lambda n: registry.find("attention", n).baseline):
            found = registry.find("attention", name)
            button = QRadioButton(found.title + ("  (baseline)" if found.baseline else ""))
            button.setObjectName(f"selector-{name}")
            button.setToolTip(found.help)
            button.setProperty("selector", name)
            self.group.addButton(button)
            self._layout.addWidget(button)
        self.group.buttons()[0].setChecked(True)
        self.group.buttonClicked.connect(self._switch)
        self._layout.addWidget(_section("Settings"))
        self._place = QWidget()
        self._layout.addWidget(self._place)
        self._layout.addLayout(self._window_row())
        self.gated = QCheckBox("Wake-up gate")
        self.gated.setObjectName("section")
        self.gated.clicked.connect(self._switch_gate)
        self._layout.addWidget(self.gated)
        self.gate = GateChart()
        self.gate.threshold_changed.connect(self._threshold)
        self._layout.addWidget(self.gate)
        self.figures = QLabel()
        self.figures.setWordWrap(True)
        self._layout.addWidget(self.figures)
        self.use = QPushButton("Use this stage in the export")
        self.use.setObjectName("use-attention")
        self.use.setCheckable(True)
        self.use.clicked.connect(self.used)
        self._layout.addWidget(self.use)
        self._layout.addStretch(1)
        self._switch()
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumWidth(fonts.px(392))

    def _window_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("Window in frame pixels"), 1)
        self.crop = [QSpinBox(), QSpinBox()]
        for box, name in zip(self.crop, ("height", "width"), strict=True):
            box.setObjectName("outlined")
            box.setRange(4, 4096)
            box.setSuffix(" px")
            box.setAlignment(Qt.AlignmentFlag.AlignRight)
            box.setAccessibleName(f"Window {name}")
            box.valueChanged.connect(lambda _: self.changed.emit(True))
            row.addWidget(box)
        return row

    @property
    def selector(self) -> str:
        """Name of the chosen selector."""
        chosen = self.group.checkedButton() or self.group.buttons()[0]
        return str(chosen.property("selector"))

    def choice(self) -> Choice:
        """What is set."""
        values = tuple(sorted(self._values.get(self.selector, {}).items()))
        return Choice(self.selector, values, (self.crop[0].value(), self.crop[1].value()))

    def set_crop(self, size: tuple[int, int]) -> None:
        """Window of this size, without telling anyone."""
        for box, value in zip(self.crop, size, strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)

    def show_measurement(self, measurement: Measurement) -> None:
        """Show the gate's scores and figures."""
        self.gate.show_scores(measurement.with_class, measurement.without)
        threshold = dict(measurement.choice.settings).get(THRESHOLD, 0)
        self._scores = tuple(map(float, measurement.with_class))
        self.gate.set_threshold(threshold)
        kept = float((measurement.with_class >= threshold).mean()) if len(measurement.with_class) else 0.0
        alarms = float((measurement.without >= threshold).mean()) if len(measurement.without) else 0.0
        awake = 1 - float(measurement.found["skipped_rate"])
        self.figures.setText(
            f"{_share(awake)} of the frames wake the network · {_share(kept)} of those with "
            f"an object kept · {_share(alarms)} false alarms on {len(measurement.without)} empty frames"
        )

    def _switch(self, *_: Any) -> None:
        old, self._place = self._place, QWidget()
        form = QFormLayout(self._place)
        form.setContentsMargins(0, 0, 0, 0)
        values = self._values.setdefault(self.selector, {})
        self._controls: dict[str, Any] = {}
        for setting in declared(registry.find("attention", self.selector).settings):
            made = control(setting)
            made.set_value(values.get(setting.name, setting.default))
            made.changed.connect(lambda value, final, name=setting.name: self._set(name, value, final))
            self._controls[setting.name] = made
            if isinstance(made, SettingSlider):
                form.addRow(setting.title, made)
            else:
                form.addRow(made)
        self._layout.replaceWidget(old, self._place)
        old.deleteLater()
        self._scores, self._wake_at = (), 0
        self._show_gate()
        self.changed.emit(True)

    def _set(self, name: str, value: Any, final: bool) -> None:
        self._values[self.selector][name] = value
        self._show_gate()
        self.changed.emit(final)

    def _threshold(self, threshold: int) -> None:
        if THRESHOLD in self._controls:
            self._controls[THRESHOLD].set_value(threshold)
            self._set(THRESHOLD, int(self._controls[THRESHOLD].value()), True)

    def _show_gate(self) -> None:
        able = THRESHOLD in self._controls
        self.gated.setEnabled(able)
        self.gated.setToolTip(GATE if able else NO_GATE)
        self.gated.setChecked(able and self._controls[THRESHOLD].value() > 0)

    def _switch_gate(self, on: bool) -> None:
        """Off: every frame wakes the network. On: as before, else so that no measured frame with an object is lost."""
        if not on:
            self._wake_at = int(self._controls[THRESHOLD].value())
        self._threshold((self._wake_at or max(1, int(min(self._scores, default=1)))) if on else 0)


def _share(share: float) -> str:
    return fonts.strong(f"{100 * share:.1f} %")


def _section(text: str, name: str = "section") -> QLabel:
    label = QLabel(text)
    label.setObjectName(name)
    return label
