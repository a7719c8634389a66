"""The main window: tool bar, budget bar, tabs, status bar; one session at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QLabel,
    QMainWindow,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.core.errors import Cancelled
from studio.core.plan import Plan
from studio.core.result import Cost, Result
from studio.desktop import fonts, presets, recents, theme
from studio.desktop.actions import Actions
from studio.desktop.attention import AttentionTab
from studio.desktop.bridge import Bridge
from studio.desktop.budget import BudgetBar
from studio.desktop.collector import Collector
from studio.desktop.network.tab import NetworkTab
from studio.desktop.notices import NoticeBar, Notices
from studio.desktop.opening import OpenDialog, Opener
from studio.desktop.start_page import StartPage
from studio.desktop.status import StatusBar
from studio.desktop.train import TrainTab
from studio.session import autosave
from studio.session.autosave import Opened
from studio.session.events import Notice, Progress

if TYPE_CHECKING:
    from studio.session import Session

COMPACT = (1300, 780)
"""Width and height below which the compact layout holds."""


class MainWindow(QMainWindow):
    """Everything a person sees; `open_model` and `open_demo` are also what the command line calls."""

    def __init__(self, notices: Notices) -> None:
        super().__init__()
        self.setObjectName("main")
        self.setWindowTitle("Edge Compression Studio")
        self.setMinimumSize(1280, 720)
        self.setAcceptDrops(True)
        self.session: Session | None = None
        self.bridge: Bridge | None = None
        self.notices = notices
        self.opener = Opener(self)
        self._doubted = False
        self._collector = Collector(self)
        self._build()
        self.actions_ = Actions(self)
        self._connect()
        self._restore_layout()
        self._show_page(0)
        QTimer.singleShot(0, self.offer_recovery)

    def _build(self) -> None:
        self.notice_bar = NoticeBar()
        self.start = StartPage()
        self.budget = BudgetBar()
        self.network = NetworkTab()
        self.attention = AttentionTab()
        self.train = TrainTab()
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.network, "Network")
        self.tabs.addTab(self.attention, "Attention")
        self.tabs.addTab(self.train, "Train")
        self.caption = QLabel()
        self.caption.setObjectName("secondary")
        self.caption.setContentsMargins(0, 0, 12, 8)
        self.tabs.setCornerWidget(self.caption)
        work = QWidget()
        layout = QVBoxLayout(work)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.budget)
        layout.addWidget(self.tabs, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.start)
        self.stack.addWidget(work)
        whole = QWidget()
        outer = QVBoxLayout(whole)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.notice_bar)
        outer.addWidget(self.stack, 1)
        self.setCentralWidget(whole)
        self.status = StatusBar()
        self.setStatusBar(self.status)

    def _connect(self) -> None:
        self.notices.told.connect(self.notice_bar.show_notice)
        self.start.open_asked.connect(self.ask_open)
        self.start.demo_asked.connect(self.open_demo)
        self.start.command.connect(lambda name: self.actions_.by_name[name].trigger())
        self.start.model_dropped.connect(lambda path: self.ask_open(Opened(path)))
        self.start.recent_asked.connect(lambda r: self.open_model(r.opened, autosave.last_plan(r.opened), as_left=True))
        self.opener.opened.connect(self._opened)
        self.opener.failed.connect(self._failed)
        self.opener.progress.connect(
            lambda title, done, total: self.status.show_progress(Progress(title, done, total, "steps"))
        )
        self.network.failed.connect(self.notices.tell_error)
        self.train.failed.connect(self.notices.tell_error)
        self.network.furthest.told.connect(self.notice_bar.show_notice)
        self.network.furthest.progressed.connect(self.status.show_progress)
        self.budget.limits_changed.connect(self.network.tradeoff.set_limits)
        self.status.paused.connect(self.pause)
        self.status.cancelled.connect(self.cancel)

    # -- opening and closing ----------------------------------------------------------------------

    def ask_open(self, opened: Opened | None = None) -> None:
        """Ask for a network and its data, then open it."""
        dialog = OpenDialog(opened or (self.session.opened if self.session else None), self)
        if dialog.exec() == QDialog.DialogCode.Accepted and dialog.result_opened is not None:
            self.open_model(dialog.result_opened)

    def ask_data(self) -> None:
        """Ask for other data or preprocessing; the plan stays."""
        if self.session is None:
            return
        dialog = OpenDialog(self.session.opened, self, data_only=True)
        if dialog.exec() == QDialog.DialogCode.Accepted and dialog.result_opened is not None:
            self.open_model(dialog.result_opened, self.session.plan)

    def open_model(self, opened: Opened, plan: Plan | Path | str | None = None, **how: bool) -> None:
        """Open beside the main thread; what is open stays until it has worked. `how`: see `Opener.start`."""
        self._start_opening(opened, plan, f"Opening {Path(opened.model).name}", **how)

    def open_demo(self) -> None:
        """Open the bundled demo."""
        self._start_opening(None, None, "Opening the demo")

    def _start_opening(self, opened: Opened | None, plan: Any, title: str, **how: bool) -> None:
        if self.opener.busy:
            return
        self.notice_bar.clear()
        self.status.show_progress(Progress(title, 0, 0))
        self.opener.start(opened, plan, **how)

    def _failed(self, error: Exception) -> None:
        self.status.show_progress(None)
        if not isinstance(error, Cancelled):
            self.notices.tell_error(error)

    def _opened(self, session: Session) -> None:
        self._drop_session()
        self._collector.settle()
        self.session, self._doubted = session, False
        session.engine.quick_first = True  # a slider does not wait for fits
        self.bridge = Bridge(session, self)
        for name, receiver in (
            ("plan_changed", self._plan_changed), ("cost_changed", self._cost_changed),
            ("estimate_changed", self._estimate_changed), ("result_changed", self._result_changed),
            ("history_changed", self.actions_.refresh), ("progress_changed", self.status.show_progress),
            ("notice", self.notice_bar.show_notice), ("blame_changed", self.network.blame_changed),
            ("effect_changed", self.network.effect_changed), ("job_progressed", self.train.progressed),
            ("job_finished", self.train.finished),
        ):  # fmt: skip
            self.bridge.on(name, receiver)
        self.budget.set_session(session)
        for tab in (self.network, self.attention, self.train):
            tab.set_session(session)
        self.status.show_session(session)
        self.actions_.refresh()
        graph = session.graph
        weighted = f"{len(graph.weighted)} layers · {graph.parameters / 1000:,.0f} k parameters"
        self.caption.setText(f"{fonts.strong(session.path.name)} · {weighted}")
        self.setWindowTitle(f"{session.path.name} – Edge Compression Studio")
        self._show_page(1)
        self.network.graph.setFocus()
        for notice in session.opening_notices:
            self.notice_bar.show_notice(notice)
        if session.data is None:
            action = ("Choose data", lambda: self.ask_open(session.opened))
            self.notice_bar.show_notice(Notice("warning", "Accuracy and export need data: none was given."), action)
        recents.remember(recents.Recent(session.opened, time.time()))
        # Answers that came before the bridge was there.
        session.lane.want(session.plan)

    def _show_page(self, index: int) -> None:
        """Start page (0), which has commands of its own, or the work (1)."""
        self.stack.setCurrentIndex(index)
        self.actions_.bar.setVisible(index == 1)
        if index == 0:
            self.start.demo_button.setFocus()

    def _drop_session(self) -> None:
        if self.session is None:
            return
        self._remember()
        if self.bridge is not None:
            self.bridge.close()
        for tab in (self.network, self.attention, self.train):
            tab.set_session(None)
        self.session.close()
        self.session = None

    def _remember(self) -> None:
        session = self.session
        if session is None:
            return
        recents.remember(recents.of(session))

    def go_home(self) -> None:
        """Back to the start page; the session is closed in order."""
        self._drop_session()
        self.budget.set_session(None)
        self.status.show_session(None)
        self.status.show_progress(None)
        self.start.refresh()
        self._show_page(0)
        self.setWindowTitle("Edge Compression Studio")
        self.actions_.refresh()

    def offer_recovery(self) -> None:
        """Say that work of a killed app can come back."""
        for found in autosave.recoverable()[:1]:
            name = Path(found.opened.model).name
            text = f"{name} was open when the studio ended ({recents.when_text(found.saved)}). Its plan was saved."

            def restore(_: bool = False, found: autosave.Recovered = found) -> None:
                self.open_model(found.opened, found.plan)

            self.notice_bar.show_notice(Notice("info", text), ("Restore", restore))

    # -- what the session tells -------------------------------------------------------------------

    def _plan_changed(self, old: Plan, new: Plan) -> None:
        for tab in (self.network, self.attention, self.train):
            tab.plan_changed(old, new)
        self.budget.refresh()
        self.status.show_session(self.session)

    def _cost_changed(self, plan: Plan, cost: Cost) -> None:
        if self.session is not None and plan == self.session.plan:
            self.budget.cost_changed(cost)
            self.network.cost_changed(plan, cost)

    def _estimate_changed(self, result: Result) -> None:
        self.budget.estimate_changed(result)
        self.network.estimate_changed(result)

    def _result_changed(self, result: Result) -> None:
        self.budget.refresh()
        self.network.result_changed(result)
        doubt = self.session.doubt() if self.session and not self._doubted else None
        if doubt is not None and self.session is not None:
            self._doubted = True
            opened = self.session.opened
            self.notice_bar.show_notice(Notice("warning", doubt), ("Data...", lambda: self.ask_open(opened)))

    # -- commands ---------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last change of the plan."""
        if self.session is not None:
            self.session.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        if self.session is not None:
            self.session.redo()

    def cancel(self) -> None:
        """Stop what runs."""
        self.opener.stop()
        self.network.furthest.job.stop()
        if self.session is not None:
            self.session.cancel()

    def pause(self, on: bool) -> None:
        """Hold or go on with measuring on more samples."""
        if self.session is not None:
            self.session.pause(on)

    def use_preset(self, name: str) -> None:
        """Give the whole network a shipped plan."""
        if self.session is None:
            return
        from dataclasses import replace

        plan = presets.load(name)
        kept = replace(plan, calibration=self.session.plan.calibration, attention=self.session.plan.attention)
        self.session.set_plan(kept, f"preset {name}")

    def save_plan(self) -> None:
        """Ask for a file and write the plan."""
        session = self.session
        if session is None:
            return
        path, _ = QFileDialog.getSaveFileName(self, "Save plan", "plan.json", "Plans (*.json)")
        if path:
            self._guarded(lambda: session.save_plan(path))

    def load_plan(self) -> None:
        """Ask for a plan file and apply it."""
        session = self.session
        if session is None:
            return
        path, _ = QFileDialog.getOpenFileName(self, "Open plan", "", "Plans (*.json)")
        if path:
            self._guarded(lambda: session.load_plan(path))

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self.notices.tell_error(error)

    def export(self) -> None:
        """Open the export dialog."""
        if self.session is None or self.session.data is None:
            self.notices.tell(Notice("warning", "Export needs a network with data. Open both first (Ctrl+O)."))
            return
        from studio.desktop.export_dialog import ExportDialog

        frames = self.attention.source if self.session.plan.attention is not None else None
        ExportDialog(self.session, self, frames).open()

    def show_netron(self) -> None:
        """Show the network file in Netron."""
        session = self.session
        if session is not None:
            from studio.desktop.netron_view import open_netron

            self._guarded(lambda: open_netron(session.path))

    def set_dark(self, dark: bool) -> None:
        """Light or dark."""
        from PySide6.QtWidgets import QApplication

        app = QApplication.instance()
        assert isinstance(app, QApplication)
        theme.apply(app, dark)
        QSettings().setValue("dark", dark)
        for part in (self.actions_, *self.findChildren(QWidget)):
            if hasattr(part, "retint"):
                part.retint()

    def set_presenter(self, on: bool) -> None:
        """Type for a projector."""
        fonts.set_scale(1.5 if on else 1.0)
        QSettings().setValue("presenter", on)
        self.set_dark(theme.is_dark())
        for part in (self.actions_, *self.findChildren(QWidget)):
            if hasattr(part, "rescale"):
                part.rescale()
        self._fit_layout()

    # -- window -----------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_layout()

    def _fit_layout(self) -> None:
        small = self.width() < fonts.px(COMPACT[0]) or self.height() < fonts.px(COMPACT[1])
        self.budget.set_compact(small)
        self.network.set_compact(small)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and event.mimeData().urls()[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.ask_open(Opened(event.mimeData().urls()[0].toLocalFile()))

    def _restore_layout(self) -> None:
        geometry = QSettings().value("geometry")
        if geometry is not None:
            self.restoreGeometry(geometry)
        else:
            self.resize(1440, 900)

    def closeEvent(self, event: QCloseEvent) -> None:
        QSettings().setValue("geometry", self.saveGeometry())
        self.setCursor(Qt.CursorShape.WaitCursor)
        self.opener.stop()
        self.opener.wait()
        self._drop_session()
        self._collector.close()
        super().closeEvent(event)
