"""Choose jobs, see what will be trained and how long, start them, watch, and take the result over by a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.core import registry
from studio.core.errors import StudioError
from studio.core.jobspec import JobSpec
from studio.desktop import fonts
from studio.desktop.job import Job
from studio.desktop.latest import Latest
from studio.desktop.train.recipe import FIRST
from studio.desktop.train.result import in_use, put_aside
from studio.desktop.train.run_panel import RunPanel
from studio.desktop.train.setup import Setup
from studio.desktop.train.standing import GOING, Standing, look
from studio.desktop.train.timing import Timing
from studio.session.events import Notice

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.jobs._folder import Told
    from studio.jobs._process import JobProcess
    from studio.session import Session

QUIET_MS = 300
"""Jobs are checked when the settings have rested so long."""


class TrainTab(QWidget):
    """One job or recipe at a time. `failed(error)` goes to the window's notices."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("train-tab")
        self._session: Session | None = None
        self._latest: Latest | None = None
        self._jobs: Latest | None = None
        self.process: JobProcess | None = None
        self._used: str | None = None  # id of the result that was taken over last
        self._able = False
        self.work = Job(self)
        self.work.done.connect(self._worked)
        self.work.failed.connect(self._work_failed)
        self._check = QTimer(self, interval=QUIET_MS, singleShot=True)
        self._check.timeout.connect(self._ask)
        self.setup, self.run = Setup(), RunPanel()
        self.setup.changed.connect(self._changed)
        self.setup.edited.connect(self._edit)
        self.setup.hold_asked.connect(self._hold)
        self.setup.start.clicked.connect(lambda _=False: self.begin())
        self.run.connect_buttons(self._pause, self._cancel, self._apply)
        self.timing = Timing(self.setup.time, self.setup.measure, self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.setup)
        layout.addWidget(self.run, 1)
        self.rescale()
        self._show_status()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setup.setFixedWidth(fonts.px(432))

    # -- session ----------------------------------------------------------------------------------

    def set_session(self, session: Session | None) -> None:
        """Train another network; a job that an earlier session left is shown again."""
        if self.work.busy:
            self.work.wait()
        self.timing.set_session(session)
        for lane in (self._latest, self._jobs):
            if lane is not None:
                lane.close()
        self._session, self._latest, self._jobs, self.process, self._used = session, None, None, None, None
        self.run.clear()
        self.run.show_standing(Standing(()))
        self._able = False
        self.setup.say("", False)
        if session is not None:
            self._latest = Latest("train", self)
            self._latest.answered.connect(self._answered)
            self._jobs = Latest("jobs", self)
            self._jobs.answered.connect(self._stand)
            self.setup.show_alone(FIRST)  # settings of another network would go unseen
            self.setup.show_recipe(session.plan.jobs)
            self._look()
        self._show_status()

    def plan_changed(self, old: Plan, new: Plan) -> None:
        """Show its recipe, and say again what would be trained; while the tab is hidden, when it is shown."""
        self.timing.stop()
        if self._session is not None and self._session.plan.jobs != self.setup.recipe.jobs:
            self.setup.show_recipe(self._session.plan.jobs)
        self._show_used()
        if self.isVisible():
            self._check.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()
        self._check.start()

    def progressed(self, process: JobProcess, reports: Sequence[Told]) -> None:
        """Show new points of the curves."""
        if self.process is not None and process.folder.path == self.process.folder.path:
            self.run.progressed(reports, len(process.recipe.jobs))

    def finished(self, process: JobProcess) -> None:
        """Show how a job ended."""
        if self.process is not None and process.folder.path == self.process.folder.path:
            self._show_status()
            self._look()
            self._check.start()

    # -- left: what will be trained ---------------------------------------------------------------

    def _changed(self) -> None:
        self.timing.stop()
        self._check.start()

    def _edit(self, jobs: tuple[JobSpec, ...], label: str, gesture: object) -> None:
        """Change the plan's recipe. A result was made by its recipe: it goes when that becomes another one."""
        session = self._session
        if session is None:
            return
        trained = session.plan.state is not None
        session.set_plan(replace(session.plan, jobs=jobs, state=None), label, gesture)
        if trained:
            text = "The recipe is another one now, so its result is no longer in use; undo brings both back."
            session.notice.emit(Notice("info", text))
        self.setup.show_recipe(jobs)

    def _hold(self, on: bool) -> None:
        """Give the chosen job of the recipe steps of its own: those of the plan as it is."""
        from studio.session.training import with_steps_of

        session, recipe = self._session, self.setup.recipe
        if session is not None and recipe.row:
            spec = recipe.spec
            spec = with_steps_of(spec, session.plan, session.graph) if on else replace(spec, layers={}, groups={})
            at = recipe.row - 1
            self._edit((*recipe.jobs[:at], spec, *recipe.jobs[at + 1 :]), f"recipe: steps of {spec.job}", None)

    def _ask(self) -> None:
        session, latest, recipe = self._session, self._latest, self.setup.recipe
        if session is None or latest is None or not self.isVisible():
            return
        specs, index = recipe.to_start, max(0, recipe.row - 1)
        latest.ask(("check", session.plan, specs), partial(_words, session, specs, index))

    def _answered(self, key: Any, answer: Any) -> None:
        if self._session is not None and key[1:] == (self._session.plan, self.setup.recipe.to_start):
            self._able = not isinstance(answer, StudioError)
            self.setup.say(answer if isinstance(answer, str) else str(answer), not self._able)
            self._show_status()
            if self._able and not self._training:
                self.timing.want(key[2])

    # -- right: the job ---------------------------------------------------------------------------

    @property
    def _training(self) -> bool:
        return self.process is not None and self.process.status in GOING

    def begin(self) -> None:
        """Start the chosen job, or the recipe, on the current plan."""
        session, specs = self._session, self.setup.recipe.to_start
        if session is not None and not self.work.busy:
            self.timing.stop()
            self.run.state.setText("Starting ...")
            self.work.start(lambda _report, _stop: ("started", session.start_job(*specs)))

    def _take_up(self, process: JobProcess) -> None:
        """Show a job, from its first report on."""
        self.process = process
        self.run.clear([registry.find("jobs", spec.job).title for spec in process.recipe.jobs])
        reports = process.folder.told()[0]
        if reports:
            self.progressed(process, reports)
        if self._session is not None and process.status in GOING:
            known = {job.folder.path for job in self._session.jobs.followed}
            if process.folder.path not in known:
                self._session.jobs.follow(process)
        self._show_status()
        self._look()

    def _look(self) -> None:
        """Ask which jobs are left beside the one that is shown, and what that says of its making."""
        session, process = self._session, self.process
        if session is not None and self._jobs is not None:
            self._jobs.ask((session, process), lambda: look(session, process))

    def _stand(self, key: Any, answer: Any) -> None:
        if key != (self._session, self.process) or isinstance(answer, StudioError):
            return
        other = answer.next(self.process)
        if other is not None and not self.work.busy:
            jobs = other.recipe.jobs
            if len(jobs) == 1 and self.setup.recipe.alone == FIRST:
                self.setup.show_alone(jobs[0])  # with the settings that it was started with
            self._take_up(other)
        else:
            self.run.show_standing(answer)
            self._show_status()

    def _worked(self, answer: tuple[str, Any]) -> None:
        what, value = answer
        if what == "started":
            self._take_up(value)
        elif self._session is not None:
            self._use(*value)

    def _use(self, process: JobProcess, state: State) -> None:
        session = self._session
        assert session is not None
        aside = put_aside(session, process.recipe, state)
        try:
            session.jobs.take(process.recipe, state)
        except StudioError as error:
            self.failed.emit(error)
            return
        if aside:
            session.notice.emit(Notice("info", aside))
        process.discard()
        self.process, self._used = None, state.id
        self._show_status()
        self._look()

    def _show_used(self) -> None:
        """Say whether the result that was taken over last is in use, as long as no other job is shown."""
        if self._session is not None and self.process is None and self._used is not None:
            self.run.state.setText(in_use(self._session, self._used))

    def _work_failed(self, error: Exception) -> None:
        self.failed.emit(error)
        self._show_status()
        self._look()

    def _pause(self) -> None:
        if self.process is None:
            return
        try:
            if self.process.status == "running":
                self.process.pause()
            else:
                self.timing.stop()
                self.process.resume()
                self._take_up(self.process)
        except StudioError as error:
            self.failed.emit(error)
        self._show_status()
        self._look()

    def _cancel(self) -> None:
        process = self.process
        if process is None or self.work.busy:
            return
        if process.status in ("done", "failed"):
            process.discard()
            self.process, self._used = None, None
            self.run.clear()
        else:
            process.cancel()
        self._show_status()
        self._look()

    def _apply(self) -> None:
        process = self.process
        if process is not None and not self.work.busy:
            self.work.start(lambda _report, _stop: ("result", (process, process.state())))

    def _show_status(self) -> None:
        status = self.process.status if self.process is not None else None
        self.run.show_status(self.process, status)
        self._show_used()
        start = self.setup.start
        start.setEnabled(self._able and status not in GOING)
        tip = "Runs in a process of its own and goes on when the studio is closed"
        if status in GOING:
            tip = "One job at a time: let this one end, or cancel it"
        start.setToolTip(tip if self._able else self.setup.facts.text())


def _words(session: Session, specs: tuple[JobSpec, ...], index: int) -> str:
    """What a job would train; raises the reason why it cannot."""
    from studio.session.training import outlook

    return outlook(session, specs, index).words()
