"""How long a training would take: measured beside the main thread, on a wish or once the settings have rested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QLabel, QPushButton

from studio.core.jobspec import JobSpec
from studio.desktop.job import Job
from studio.desktop.train.run_panel import duration

if TYPE_CHECKING:
    from studio.jobs._estimate import Estimate
    from studio.session import Session

REST_MS = 1000
"""A measurement takes a core for some seconds: it waits until the settings have rested so long."""
TIP = (
    "Time from the click to the end, measured on the first three batches by a process like the job's own. "
    "Validations, the freezing of scales and the writing of the result come on top: seconds each"
)


UNKNOWN = "Time: not measured"


class Timing(QObject):
    """Fills a line with the time, and a button that measures or stops; times of earlier settings are kept."""

    def __init__(self, line: QLabel, button: QPushButton, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._line, self._button = line, button
        self._session: Session | None = None
        self._specs: tuple[JobSpec, ...] | None = None
        self._known: dict[str, tuple[Estimate, ...]] = {}
        self.job = Job(self)
        self.job.done.connect(self._done)
        self.job.failed.connect(self._failed)
        self._rest = QTimer(self, interval=REST_MS, singleShot=True)
        self._rest.timeout.connect(self.start)
        line.setToolTip(TIP)
        button.clicked.connect(lambda _=False: self._clicked())
        self.stop()

    def set_session(self, session: Session | None) -> None:
        """Measure on another session; a measurement that runs ends first."""
        self.stop()
        self.job.wait()
        self._session, self._known = session, {}

    def want(self, specs: tuple[JobSpec, ...]) -> None:
        """Show the time of these jobs, none = the plan's recipe, as soon as it is known."""
        if self.job.busy:
            return
        self._specs = specs
        self._show_button()
        known = self._known.get(self._key)
        if known is not None:
            self._line.setText(words(known))
        else:
            self._rest.start()

    def start(self) -> None:
        """Measure now."""
        from studio.session.training import measure_times

        session, specs, key = self._session, self._specs, self._key
        if session is None or specs is None:
            return
        self._rest.stop()
        self._line.setText("Time: measuring three batches ...")
        self.job.start(lambda report, stop: (key, measure_times(session, specs, report, stop)))
        self._show_button()

    def stop(self) -> None:
        """End a measurement and forget what it was for: other settings have another time."""
        self._rest.stop()
        self.job.stop()
        self._specs = None
        self._line.setText(UNKNOWN)
        self._show_button()

    @property
    def _key(self) -> str:
        specs = [spec.to_json() for spec in self._specs or ()]
        return f"{self._session.plan.key if self._session else ''} {specs}"

    def _clicked(self) -> None:
        if self.job.busy:
            self.job.stop()
            self._line.setText(UNKNOWN)
            self._show_button()
        else:
            self.start()

    def _done(self, answer: tuple[str, tuple[Estimate, ...]]) -> None:
        key, found = answer
        self._known[key] = found
        self._line.setText(words(found))
        self._show_button()

    def _failed(self, error: Exception) -> None:
        self._line.setText(f"Time: {error}")
        self._show_button()

    def _show_button(self) -> None:
        busy = self.job.busy
        self._button.setText("Stop" if busy else "Measure")
        self._button.setToolTip("Stop measuring the time" if busy else f"Measure again. {TIP}")
        self._button.setEnabled(busy or self._specs is not None)


def words(found: tuple[Estimate, ...]) -> str:
    """Time of one job, or of all and of each."""
    whole = duration(sum(one.seconds for one in found))
    if len(found) == 1:
        return f"Time: about {whole}, measured on {found[0].batches} batches"
    each = " + ".join(duration(one.seconds) for one in found)
    return f"Time: about {whole} ({each}), measured on the first batches of each"
