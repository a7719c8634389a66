"""Choose a job, see what will be trained, start it, watch it, and take its result over by a click."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.core import registry
from studio.core.errors import StudioError
from studio.core.jobspec import JobSpec
from studio.core.settings import declared
from studio.desktop import fonts
from studio.desktop.job import Job
from studio.desktop.latest import Latest
from studio.desktop.network.setting_control import SettingSlider, control
from studio.desktop.train.curves import CurvePlot

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.jobs._folder import Told
    from studio.jobs._process import JobProcess
    from studio.session import Session

QUIET_MS = 300
"""A recipe is checked when the settings have rested so long."""
KINDS = ("int", "float", "bool", "choice")
STATES = {
    "running": "Training", "paused": "Paused", "stopped": "Stopped; it goes on from its checkpoint",
    "done": "Done: the result can be used", "cancelled": "Cancelled", "failed": "Failed",
}  # fmt: skip


class TrainTab(QWidget):
    """One job at a time. `failed(error)` goes to the window's notices."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("train-tab")
        self._session: Session | None = None
        self._latest: Latest | None = None
        self.process: JobProcess | None = None
        self.curves: dict[str, dict[int, float]] = {}
        self._values: dict[str, Any] = {}
        self._able = False
        self.work = Job(self)
        self.work.done.connect(self._worked)
        self.work.failed.connect(self._work_failed)
        self._check = QTimer(self, interval=QUIET_MS, singleShot=True)
        self._check.timeout.connect(self._ask)
        self._build_left()
        self._build_right()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self._left)
        layout.addWidget(self._right, 1)
        self.rescale()
        self._choose()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self._left.setFixedWidth(fonts.px(432))

    def _build_left(self) -> None:
        self._left = QWidget()
        self._left.setObjectName("panel")
        layout = QVBoxLayout(self._left)
        layout.setContentsMargins(14, 12, 8, 12)
        self.job = QComboBox()
        self.job.setAccessibleName("Training job")
        for name in registry.names("jobs"):
            self.job.addItem(registry.find("jobs", name).title, name)
        self.job.setCurrentIndex(self.job.findData("retrain"))
        self.job.currentIndexChanged.connect(lambda _: self._choose())
        self.help, self.facts = QLabel(), QLabel()
        for label in (self.help, self.facts):
            label.setWordWrap(True)
        self.facts.setObjectName("secondary")
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.start = QPushButton("Start training")
        self.start.setObjectName("primary")
        self.start.clicked.connect(lambda _=False: self.begin())
        for widget in (self.job, self.help, self.facts):
            layout.addWidget(widget)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self.start)

    def _build_right(self) -> None:
        self._right = QWidget()
        self._right.setObjectName("panel")
        layout = QVBoxLayout(self._right)
        layout.setContentsMargins(14, 12, 14, 12)
        self.state, self.left, self.bar = QLabel("No job yet"), QLabel(), QProgressBar()
        self.state.setObjectName("section")
        self.left.setObjectName("secondary")
        self.bar.setTextVisible(False)
        self.plot = CurvePlot()
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Cancel")
        self.apply = QPushButton("Use the result")
        self.apply.setToolTip("Make the trained network the current plan, as one entry that undo takes back")
        for button, act in ((self.pause, self._pause), (self.cancel, self._cancel), (self.apply, self._apply)):
            button.clicked.connect(lambda _=False, act=act: act())
        row = QHBoxLayout()
        row.addWidget(self.state, 1)
        for widget in (self.left, self.pause, self.cancel, self.apply):
            row.addWidget(widget)
        layout.addLayout(row)
        layout.addWidget(self.bar)
        layout.addWidget(self.plot, 1)
        self._show_status()

    # -- session ----------------------------------------------------------------------------------

    def set_session(self, session: Session | None) -> None:
        """Train another network; a job that an earlier session left is shown again."""
        if self.work.busy:
            self.work.wait()
        if self._latest is not None:
            self._latest.close()
        self._session, self._latest, self.process, self.curves = session, None, None, {}
        self.plot.show_curves({})
        if session is not None:
            self._latest = Latest("train", self)
            self._latest.answered.connect(self._answered)
            self._latest.ask("left", lambda: session.jobs.unfinished())
        self._able = False
        self.facts.clear()
        self._check.start()
        self._show_status()

    def plan_changed(self, old: Plan, new: Plan) -> None:
        """Say again what would be trained; while the tab is hidden, when it is shown."""
        if self.isVisible():
            self._check.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._check.start()

    def progressed(self, process: JobProcess, reports: Sequence[Told]) -> None:
        """Show new points of the curves."""
        if self.process is None or process.folder.path != self.process.folder.path:
            return
        for told in reports:
            for name, value in told.report.values.items():
                if math.isfinite(value):
                    self.curves.setdefault(name, {})[told.report.step] = value
        last = reports[-1].report
        self.bar.setRange(0, last.steps)
        self.bar.setValue(last.step)
        left = "" if last.seconds_left is None else f" · {duration(last.seconds_left)} left"
        self.left.setText(f"epoch {last.epoch + 1} · step {last.step:,} of {last.steps:,}{left}")
        self.plot.show_curves(self.curves)

    def finished(self, process: JobProcess) -> None:
        """Show how a job ended."""
        if self.process is not None and process.folder.path == self.process.folder.path:
            self._show_status()

    # -- left: what will be trained ---------------------------------------------------------------

    def _choose(self) -> None:
        """Show the settings of the chosen job."""
        found = registry.find("jobs", self.job.currentData())
        self.help.setText(found.help)
        self._values = {}
        body = QWidget()
        body.setObjectName("panel")
        form = QFormLayout(body)
        form.setContentsMargins(0, 6, 8, 6)
        for setting in declared(found.settings):
            if setting.kind not in KINDS or (setting.kind in ("int", "float") and setting.high is None):
                continue
            made = control(setting)
            made.set_value(setting.default)
            made.changed.connect(lambda value, _final, name=setting.name: self._set(name, value))
            if isinstance(made, SettingSlider):
                form.addRow(setting.title, made)
            else:
                form.addRow(made)
        self._scroll.setWidget(body)
        self._check.start()

    def _set(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._check.start()

    def spec(self) -> JobSpec:
        """Chosen job with its settings; raises PlanError."""
        return JobSpec(self.job.currentData(), dict(self._values))

    def _ask(self) -> None:
        session, latest = self._session, self._latest
        if session is None or latest is None:
            return
        try:
            spec = self.spec()
        except StudioError as error:
            self._answered("check", error)
            return
        latest.ask("check", lambda: describe(session, spec))

    def _answered(self, key: str, answer: Any) -> None:
        if key == "left":
            if answer and not isinstance(answer, StudioError):
                self._take_up(answer[-1])
            self._check.start()
            return
        self._able = not isinstance(answer, StudioError)
        self.facts.setText(answer if isinstance(answer, str) else f"{answer.what} {answer.remedy or ''}".strip())
        self._show_status()

    # -- right: the job ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the chosen job on the current plan."""
        session = self._session
        if session is not None and not self.work.busy:
            spec = self.spec()
            self.state.setText("Starting ...")
            self.work.start(lambda _report, _stop: ("started", session.start_job(spec)))

    def _take_up(self, process: JobProcess) -> None:
        """Show a job, from its first report on."""
        self.process, self.curves = process, {}
        reports = process.folder.told()[0]
        if reports:
            self.progressed(process, reports)
        if self._session is not None and process.status in ("running", "paused"):
            known = {job.folder.path for job in self._session.jobs.followed}
            if process.folder.path not in known:
                self._session.jobs.follow(process)
        self._show_status()

    def _worked(self, answer: tuple[str, Any]) -> None:
        what, value = answer
        if what == "started":
            self._take_up(value)
        elif self._session is not None and self.process is not None:
            self._use(value)

    def _use(self, state: State) -> None:
        session, process = self._session, self.process
        assert session is not None
        assert process is not None
        try:
            session.jobs.take(process.recipe, state)
        except StudioError as error:
            self.failed.emit(error)
            return
        process.discard()
        self.process = None
        self._show_status()
        self.state.setText("The result is in use; undo takes it back")

    def _work_failed(self, error: Exception) -> None:
        self.failed.emit(error)
        self._show_status()

    def _pause(self) -> None:
        if self.process is None:
            return
        try:
            if self.process.status == "running":
                self.process.pause()
            else:
                self.process.resume()
                self._take_up(self.process)
        except StudioError as error:
            self.failed.emit(error)
        self._show_status()

    def _cancel(self) -> None:
        if self.process is not None:
            self.process.cancel()
            self._show_status()

    def _apply(self) -> None:
        process = self.process
        if process is not None and not self.work.busy:
            self.work.start(lambda _report, _stop: ("result", process.state()))

    def _show_status(self) -> None:
        status = self.process.status if self.process is not None else None
        if self.process is not None and status is not None:
            outcome = self.process.folder.outcome()
            why = f": {outcome.error['what']}" if outcome is not None and outcome.error else ""
            self.state.setText(f"{self.process.recipe.title} · {STATES[status]}{why}")
        elif not self.curves:
            self.state.setText("No job yet")
        going = status in ("running", "paused", "stopped")
        self.pause.setText("Pause" if status == "running" else "Go on")
        self.pause.setVisible(going)
        self.cancel.setVisible(going)
        self.apply.setVisible(status == "done")
        self.bar.setVisible(going)
        self.left.setVisible(going)
        self.start.setEnabled(self._able and status not in ("running", "paused"))
        self.start.setToolTip("Runs in a process of its own and goes on when the studio is closed"
                              if self._able else self.facts.text())  # fmt: skip


def describe(session: Session, spec: JobSpec) -> str:
    """What a job would train, in a line; raises the reason why it cannot."""
    from studio.jobs._samples import training_data

    session.jobs.recipe((spec,))
    data = training_data(session.engine)
    variant = session.engine.variant(session.plan)
    weights = sum(layer.parameters for layer in variant.graph.weighted)
    layers = len(variant.graph.weighted)
    return (
        f"{layers} layers, {weights:,} parameters · {data.count:,} samples of {data.name} · "
        "time left is measured from the first batches"
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
