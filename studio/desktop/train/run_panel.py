"""Right side of the Train tab: the job that runs, its curves, and what to do with its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from studio.desktop.train.course import Course
from studio.desktop.train.curves import CurvePlot
from studio.desktop.train.standing import Standing, more, title

if TYPE_CHECKING:
    from studio.jobs._folder import Told
    from studio.jobs._process import JobProcess, Status

STATES = {
    "running": "Training", "paused": "Paused", "stopped": "Stopped; it goes on from its checkpoint",
    "done": "Done: the result can be used", "cancelled": "Cancelled", "failed": "Failed",
}  # fmt: skip
UNSAVED = "Stopped before its first checkpoint; it begins anew"
CANCEL = ("Cancel", "End the job for good; what it has made is removed")
DISCARD = ("Discard", "Forget this job; what it has made is removed")
APART = (
    "Same seed, same epochs, with and without teacher. The losses are different quantities: compare the validations."
)


class RunPanel(QWidget):
    """State, time left, curves and buttons of one job."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.course = Course()
        self.state, self.left, self.bar, self.verdict = QLabel("No job yet"), QLabel(), QProgressBar(), QLabel()
        self.more, self.warning = QLabel(), QLabel()
        for label, name in ((self.state, "section"), (self.left, "secondary"), (self.more, "secondary")):
            label.setObjectName(name)
        self.warning.setObjectName("warn")
        for label in (self.state, self.verdict, self.more, self.warning):
            label.setWordWrap(True)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Progress of the job")
        self.plot = CurvePlot()
        self.pause, self.cancel = QPushButton("Pause"), QPushButton(CANCEL[0])
        self.pause.setToolTip("Hold the job, or go on with it from its last checkpoint, which stays in any case")
        self.apply = QPushButton("Use the result")
        self.apply.setObjectName("primary")
        self.apply.setToolTip("Make the trained network the current plan, as one entry that undo takes back")
        self._lay_out()
        self.show_standing(Standing(()))

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 12, 14, 12)
        self._row = QHBoxLayout()
        self._row.addWidget(self.state, 1)
        for widget in (self.left, self.pause, self.cancel, self.apply):
            self._row.addWidget(widget)
        layout.addLayout(self._row)
        for below in (self.bar, self.warning, self.more):
            layout.addWidget(below)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.verdict)

    def connect_buttons(self, pause: Callable[[], None], cancel: Callable[[], None], apply: Callable[[], None]) -> None:
        """Say what the buttons do."""
        for button, act in ((self.pause, pause), (self.cancel, cancel), (self.apply, apply)):
            button.clicked.connect(lambda _=False, act=act: act())

    def clear(self, jobs: Sequence[str] = ()) -> None:
        """Forget the curves; `jobs`: titles of those that come."""
        self.course = Course(jobs)
        self.verdict.clear()
        _show(self.warning, "")
        self.plot.show_course(self.course)

    def show_standing(self, standing: Standing) -> None:
        """Show what the job says of its making, and that others are left."""
        if standing.verdict:
            self.verdict.setText(standing.verdict)
        _show(self.warning, standing.warning)
        _show(self.more, more(standing.left))

    def progressed(self, reports: Sequence[Told], jobs: int) -> None:
        """Show new points of the curves of a recipe of so many jobs."""
        self.course.add(reports)
        last = reports[-1].report
        self.bar.setRange(0, last.steps)
        self.bar.setValue(last.step)
        which = f"job {reports[-1].job + 1} of {jobs} · " if jobs > 1 else ""
        left = "" if last.seconds_left is None else f" · {duration(last.seconds_left)} left"
        self.left.setText(f"{which}epoch {max(1, last.epoch)} · step {last.step:,} of {last.steps:,}{left}")
        self._row.activate()  # room for a longer text at once: it is painted before the next layout
        self.plot.show_course(self.course)
        if self.course.compared and not self.verdict.text():
            self.verdict.setText(APART)

    def show_status(self, process: JobProcess | None, status: Status | None) -> None:
        """Show how a job stands, and the buttons that it then has."""
        if process is not None and status is not None:
            outcome = process.folder.outcome()
            why = (
                f": {outcome.error['what']} {outcome.error['remedy']}" if outcome is not None and outcome.error else ""
            )
            stands = UNSAVED if status == "stopped" and not process.folder.saved else STATES[status]
            self.state.setText(f"{title(process.recipe)} · {stands}{why}")
            self.state.setToolTip(self.state.text())
        elif not self.course.curves:
            self.state.setText("No job yet")
        going = status in ("running", "paused", "stopped")
        self.pause.setText("Pause" if status == "running" else "Try again" if status == "failed" else "Go on")
        self.pause.setVisible(going or status == "failed")
        for widget in (self.bar, self.left):  # a stopped job goes on somewhere before its last report
            widget.setVisible(status in ("running", "paused"))
        text, tip = CANCEL if going else DISCARD
        self.cancel.setText(text)
        self.cancel.setToolTip(tip)
        self.cancel.setVisible(going or status in ("done", "failed"))
        self.apply.setVisible(status == "done")


def _show(label: QLabel, text: str) -> None:
    """A label without text takes no room."""
    label.setText(text)
    label.setVisible(bool(text))


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
