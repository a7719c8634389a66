"""The Attention tab assembled: frame and crop, the table of selectors, the panel beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSlider,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core import paths, registry
from studio.core.plan import Attention, Plan
from studio.desktop import cells, fonts, icons
from studio.desktop.attention.bars import CostBars, ScoreBars
from studio.desktop.attention.panel import SelectorPanel
from studio.desktop.attention.pictures import CropView, FrameView
from studio.desktop.attention.worker import Look, Measurement, Worker
from studio.desktop.network.row_painter import count

if TYPE_CHECKING:
    from studio.data.frames import Frames
    from studio.session import Session

COLUMNS = ("Selector", "Hit rate", "IoU", "Pixels kept", "End accuracy", "Stage 1", "Network", "Total", "Asleep")
PLAY_MS = 700
REST_MS = 400
"""How long the hand must rest before all frames are measured."""


class AttentionTab(QWidget):
    """`failed(error)` goes to the window's notices."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attention-tab")
        self.session: Session | None = None
        self.frames: Frames | None = None
        self.source: Path | None = None  # of the frames that are open
        self._asked: Path | None = None
        self.index = 0
        self.worker: Worker | None = None
        self.panel = SelectorPanel()
        self.view, self.crop = FrameView(), CropView()
        self._build()
        self.retint()
        self.rescale()
        self._rest = QTimer(self, interval=REST_MS, singleShot=True)
        self._rest.timeout.connect(self._measure)
        self._player = QTimer(self, interval=PLAY_MS)
        self._player.timeout.connect(lambda: self.step(1))
        self.panel.changed.connect(self._changed)
        self.panel.used.connect(self._use)

    def _build(self) -> None:
        upper = QWidget()
        row = QHBoxLayout(upper)
        left = QVBoxLayout()
        left.addLayout(self._frame_bar())
        left.addWidget(self.view, 1)
        self.caption = QLabel()
        self.caption.setObjectName("secondary")
        left.addWidget(self.caption)
        row.addLayout(left, 3)
        row.addLayout(self._crop_side(), 2)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setObjectName("selectors")
        self.table.setAccessibleName("Selectors beside their baselines")
        self.table.verticalHeader().hide()
        for column in range(len(COLUMNS)):
            header = QTableWidgetItem(COLUMNS[column])
            side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
            header.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
            self.table.setHorizontalHeaderItem(column, header)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(upper)
        split.addWidget(self.table)
        split.setStretchFactor(0, 1)
        split.setSizes([480, 170])
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.addWidget(split)
        whole.addWidget(self.panel)
        whole.setStretchFactor(0, 1)
        whole.setSizes([1000, 432])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(whole)

    def _frame_bar(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._steps: dict[str, QToolButton] = {}
        for name, by, tip in (("left", -1, "Previous frame (Left)"), ("right", 1, "Next frame (Right)")):
            button = QToolButton()
            self._steps[name] = button
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.clicked.connect(lambda _=False, by=by: self.step(by))
            row.addWidget(button)
        self.number = QLabel("No frames")
        self.play = QPushButton("Play")
        self.play.setCheckable(True)
        self.play.toggled.connect(lambda on: self._player.start() if on else self._player.stop())
        self.open_button = QPushButton("Open frames...")
        self.open_button.setToolTip("A folder with annotations.json, or an .npz with frames and boxes")
        self.open_button.clicked.connect(self._choose)
        heat = QSlider(Qt.Orientation.Horizontal)
        heat.setRange(0, 100)
        heat.setValue(60)
        heat.setFixedWidth(80)
        heat.setAccessibleName("Opacity of the heat map")
        heat.valueChanged.connect(lambda v: self.view.set_opacity(v / 100))
        truth = QCheckBox("Truth")
        truth.setChecked(True)
        truth.toggled.connect(self.view.set_truth)
        for widget in (self.number, self.play, self.open_button):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(QLabel("Heat map"))
        row.addWidget(heat)
        row.addWidget(truth)
        return row

    def _crop_side(self) -> QVBoxLayout:
        column = QVBoxLayout()
        title = QLabel("What the network sees")
        title.setObjectName("section")
        column.addWidget(title)
        self.scores = ScoreBars()
        seen = QHBoxLayout()
        seen.setSpacing(14)
        seen.addWidget(self.crop)
        seen.addWidget(self.scores, 1)
        column.addLayout(seen)
        column.setContentsMargins(12, 0, 0, 0)
        column.setSpacing(8)
        self.facts = QLabel()
        self.facts.setObjectName("secondary")
        self.facts.setWordWrap(True)
        self.costs = CostBars()
        self.progress = QLabel()
        self.progress.setObjectName("secondary")
        for widget in (self.facts, self.costs, self.progress):
            column.addWidget(widget)
        column.addStretch(1)
        return column

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.table.verticalHeader().setDefaultSectionSize(fonts.px(28))
        for column in range(1, len(COLUMNS)):
            self.table.setColumnWidth(column, fonts.px(96 if column == 4 else 84))

    def retint(self) -> None:
        """Draw the icons in the colours of the theme."""
        for name, button in self._steps.items():
            button.setIcon(icons.icon(name))
        self.play.setIcon(icons.icon("play"))

    # -- session and frames -----------------------------------------------------------------------

    def set_session(self, session: Session | None) -> None:
        """Use another network; the demo brings its frames along."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
        self.session, self.frames, self.source = session, None, None
        self.play.setChecked(False)
        self._rest.stop()
        self.table.setRowCount(0)
        self.view.show_look(None)
        self.crop.show_crop(None)
        usable = session is not None and session.data is not None and len(session.network.input_shape) == 4
        self.setEnabled(usable)
        if session is None or not usable:
            return
        shape, layout = session.network.input_shape, session.data.preprocess.layout if session.data else None
        self.panel.set_crop((shape[1], shape[2]) if layout == "NHWC" else (shape[2], shape[3]))
        self.panel.use.setChecked(session.plan.attention is not None)
        self.worker = Worker(self)
        self.worker.opened.connect(self._opened)
        self.worker.looked.connect(self._looked)
        self.worker.measured.connect(self._measured)
        self.worker.failed.connect(self.failed)
        self.worker.progress.connect(
            lambda done, total: self.progress.setText(f"measuring {done:,} of {total:,} frames")
        )
        folder = paths.resource("demo")
        if session.path == (folder / "parts.onnx").resolve():
            self.open_frames(folder / "frames")

    def open_frames(self, path: Path) -> None:
        """Open frames beside the main thread."""
        if self.worker is not None:
            self._asked = path
            self.worker.open(path)

    def plan_changed(self, old: Plan, new: Plan) -> None:
        """Show whether the plan has an attention stage."""
        self.panel.use.setChecked(new.attention is not None)

    def _choose(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Frames: a folder with annotations.json")
        if found:
            self.open_frames(Path(found))

    def _opened(self, frames: Frames) -> None:
        self.frames, self.source, self.index = frames, self._asked, 0
        self._changed(True)

    def step(self, by: int) -> None:
        """Show another frame."""
        if self.frames is not None:
            self.index = (self.index + by) % self.frames.count
            self._ask_look()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in steps:
            self.step(steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def _changed(self, final: bool) -> None:
        self._ask_look()
        if self.frames is not None:
            self._rest.start()
        if final and self.panel.use.isChecked():
            self._use(True)

    def _ask_look(self) -> None:
        if self.worker is not None and self.session is not None and self.frames is not None:
            self.number.setText(f"Frame {self.index + 1} of {self.frames.count:,}")
            self.worker.look(self.session, self.frames, self.index, self.panel.choice())

    def _measure(self) -> None:
        if self.worker is not None and self.session is not None and self.frames is not None:
            self.worker.measure(self.session, self.frames, self.panel.choice())

    def _use(self, on: bool) -> None:
        """Put the stage into the plan, or take it out."""
        if self.session is None:
            return
        choice = self.panel.choice()
        stage = Attention(choice.selector, dict(choice.settings), choice.crop) if on else None
        try:
            plan = replace(self.session.plan, attention=stage)
            self.session.set_plan(plan, "attention on" if on else "attention off", "attention")
        except Exception as error:
            self.failed.emit(error)

    def _progressed(self, done: int, total: int) -> None:
        self.progress.setText(f"measuring {done:,} of {total:,} frames")

    # -- answers ----------------------------------------------------------------------------------

    def _looked(self, look: Look) -> None:
        self.view.show_look(look)
        self.crop.show_crop(look.crop)
        self.scores.show_scores(look.scores)
        h, w = look.frame.shape[:2]
        x0, y0, x1, y1 = look.box
        iou = "nothing is there" if look.iou is None else f"IoU {look.iou:.2f} with the {look.label}"
        self.caption.setText(f"chosen box {x1 - x0}×{y1 - y0} of {w}×{h} · {iou} · score {look.score}")
        self.facts.setText(f"{(x1 - x0) * (y1 - y0):,} of {w * h:,} pixels kept ({100 * look.pixels_kept:.1f} %)")

    def _measured(self, measurement: Measurement) -> None:
        self.panel.show_measurement(measurement)
        rows = [measurement.found, *measurement.found["selectors"]]
        self.table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for column, text in enumerate(_cells(row)):
                item = cells.write(self.table, i, column, text)
                item.setFont(fonts.scaled(fonts.body_unscaled() if i else fonts.section()))
        self.progress.setText(f"measured on {self.frames.count:,} frames" if self.frames else "")
        self.costs.show_costs(_costs(measurement.found))

    def changeEvent(self, event: Any) -> None:
        super().changeEvent(event)
        self.view.update()


def _cells(row: dict[str, Any]) -> list[str]:
    macs = row["macs"]
    total = (macs["stage1"] or 0) + (macs["stage2"] or 0)
    iou = "–" if row["iou_mean"] is None else f"{row['iou_mean']:.2f}"
    own = (row["accuracy"] or {}).get("with")
    title = registry.find("attention", row["selector"]).title
    return [
        title, _percent(row["hits"]["rate"]), iou, _percent(row["pixels_kept"]), _percent(own),
        count(macs["stage1"] or 0), count(macs["stage2"] or 0), count(total), _percent(row["skipped_rate"]),
    ]  # fmt: skip


def _costs(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """The whole frame, its crop, and the crop behind the gate, each with its operations."""
    macs = found["macs"]
    first, second = float(macs["stage1"] or 0), float(macs["stage2"] or 0)
    awake = 1 - float(found["skipped_rate"])
    rows = [("Full frame", 0.0, float(macs["full"]))] if macs["full"] else []
    return [*rows, ("Crop, every frame", first, second), ("Crop, behind the gate", first, second * awake)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
