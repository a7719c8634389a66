"""Line of the start page that says which training job runs, read beside the main thread."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QLabel, QWidget

from studio.desktop.job import Job
from studio.desktop.train.standing import GOING, title

PERIOD_MS = 3000


class TrainingLine(QLabel):
    """Takes no room where nothing runs; looks again every few seconds while the page around it is shown."""

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        self._page = page
        self.setObjectName("secondary")
        self.setContentsMargins(40, 12, 40, 0)
        self.hide()
        self.job = Job(self)
        self.job.done.connect(self._show)
        self._again = QTimer(self, interval=PERIOD_MS, singleShot=True)
        self._again.timeout.connect(self.refresh)

    def refresh(self) -> None:
        """Look for jobs that run."""
        if not self.job.busy:
            self.job.start(lambda _report, _stop: running())

    def _show(self, text: str) -> None:
        self.setText(text)
        self.setVisible(bool(text))
        if self._page.isVisible():
            self._again.start()


def running() -> str:
    """Jobs that run or are paused on this machine, in a line; empty where there are none."""
    from studio.jobs import _process

    found = []
    for job in _process.find_unfinished():
        status, reports = job.status, job.reports()
        if status in GOING:
            recipe, told = job.recipe, reports[-1] if reports else None
            part = 0.0 if told is None else (told.job + told.report.step / told.report.steps) / len(recipe.jobs)
            found.append(f"{Path(recipe.opened.model).stem}, {title(recipe)}, {status}, {100 * part:.0f} %")
    count = "Training jobs are" if len(found) > 1 else "A training job is"
    return f"{count} under way: {'; '.join(found)}. Open the network to see it." if found else ""
