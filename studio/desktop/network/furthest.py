"""The largest cut of channels within a drop of the metric, looked for beside the main thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QInputDialog, QWidget

from studio.core.plan import Plan, Step
from studio.desktop.job import Job
from studio.session.events import Notice, Progress
from studio.session.layer_parts import cut_groups

if TYPE_CHECKING:
    from studio.engine.furthest_cut import FurthestCut
    from studio.session import Session

QUESTION = "Points of the metric that may be lost at most, against the plan without this cut"


class Furthest(QObject):
    """Asks for the drop, measures, and sets the amount that was found as one entry of the history.

    `progressed(Progress or None)`, `told(Notice)`, `failed(error)`.
    """

    progressed = Signal(object)
    told = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._widget = parent
        self._session: Session | None = None
        self._plan: Plan | None = None
        self._layers: tuple[str, ...] = ()
        self.job = Job(self)
        self.job.progressed.connect(lambda title, done, total: self.progressed.emit(Progress(title, done, total, "")))
        self.job.done.connect(self._done)
        self.job.failed.connect(self._failed)
        self.job.cancelled.connect(lambda: self.progressed.emit(None))

    def set_session(self, session: Session | None) -> None:
        """Work on another session; what runs is stopped."""
        if self.job.busy:
            self.job.wait()
        self._session = session

    def ask(self, layers: Sequence[str], step: Step) -> None:
        """Ask how much may be lost, then look for the amount that all groups of these layers can take."""
        points, accepted = QInputDialog.getDouble(self._widget, "Furthest cut", QUESTION, 1.0, 0.0, 100.0, 2)
        if accepted:
            self.start(layers, step, points / 100)

    def start(self, layers: Sequence[str], step: Step, drop: float) -> None:
        """Look for the largest amount within a drop (0.01 = one point)."""
        from studio.engine.furthest_cut import furthest_cut

        session = self._session
        if session is None:
            return
        groups = cut_groups(map(session.graph.layer, layers))
        plan, self._plan, self._layers = session.plan, session.plan, groups
        self.progressed.emit(Progress("Looking for the furthest cut", 0, 0, ""))
        self.job.start(
            lambda report, stop: furthest_cut(session.engine, plan, groups, drop, step=step, stop=stop, progress=report)
        )

    def _done(self, found: FurthestCut) -> None:
        self.progressed.emit(None)
        session = self._session
        if session is None:
            return
        where = self._layers[0] if len(self._layers) == 1 else f"{len(self._layers)} groups"
        if found.amount == 0:
            self.told.emit(Notice("info", f"Even the smallest cut of {where} costs more than that; nothing was cut."))
            return
        assert found.result.value is not None
        lost = f"{100 * (found.result.value - found.reference):+.2f}".replace("-", "−")
        text = f"Furthest cut of {where}: amount {100 * found.amount:.1f} %, {lost} points"
        if session.plan != self._plan:
            self.told.emit(Notice("warning", f"{text}. The plan has changed meanwhile, so it was not applied."))
            return
        session.set_plan(found.plan, f"furthest cut, {where}: {100 * found.amount:.1f} %")
        self.told.emit(Notice("info", f"{text} on {found.result.samples:,} samples."))

    def _failed(self, error: Exception) -> None:
        self.progressed.emit(None)
        self.failed.emit(error)
