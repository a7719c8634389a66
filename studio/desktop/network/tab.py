"""The Network tab: graph with minimap above, trade-off, table and blame below; the inspector beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core.plan import Plan, Step
from studio.core.result import Cost, Result
from studio.core.technique import Stage
from studio.desktop import fonts
from studio.desktop.network.blame import BlamePanel
from studio.desktop.network.changes import ChangesPanel
from studio.desktop.network.figures import plain_row, points_lost
from studio.desktop.network.furthest import Furthest
from studio.desktop.network.graph_view import GraphView
from studio.desktop.network.heat_map import HeatMap
from studio.desktop.network.inspector import Inspector
from studio.desktop.network.layer_table import LayerTable
from studio.desktop.network.minimap import Minimap
from studio.desktop.network.skipped import NOTHING, SkippedPanel, counted
from studio.desktop.network.tradeoff import TradeoffPlot
from studio.session.events import Effect, Measured

if TYPE_CHECKING:
    from studio.engine.resolve import Skipped
    from studio.session import Session

GATHER_MS = 60
"""Layers whose figures come within this time enter the table together."""


class NetworkTab(QWidget):
    """All views of the network. The window hands in what the session tells; `failed(error)` goes to its notices."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("network-tab")
        self.session: Session | None = None
        self.graph = GraphView()
        self.minimap = Minimap(self.graph)
        self.inspector = Inspector()
        self.table = LayerTable()
        self.blame = BlamePanel()
        self.heat = HeatMap()
        self.changes = ChangesPanel()
        self.skipped = SkippedPanel()
        self.tradeoff = TradeoffPlot()
        self.furthest = Furthest(self)
        self.search = QLineEdit()
        self.search.setAccessibleName("Find layer")
        self.search.setClearButtonEnabled(True)
        self._fresh: set[str] = set()
        self._compact = self._divided = False
        self._gather = QTimer(self, interval=GATHER_MS, singleShot=True)
        self._gather.timeout.connect(self._show_fresh)
        self._build()
        self._connect()

    def _build(self) -> None:
        upper = QWidget()
        row = QHBoxLayout(upper)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.graph, 1)
        side = QWidget()
        self._side = side
        grid = QGridLayout(side)
        grid.setContentsMargins(4, 6, 6, 6)
        grid.setSpacing(4)
        grid.addWidget(self.minimap, 0, 0, 1, 3)
        self._zoom_label = QLabel("100 %")
        self._zoom_label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        fit = _button("Fit all", "Show the whole network (Ctrl+0)", self.graph.fit)
        grid.addWidget(fit, 1, 0, 1, 3)
        grid.addWidget(_tool("−", "Zoom out (Ctrl+−)", lambda: self.graph.step_zoom(-1)), 2, 0)
        grid.addWidget(self._zoom_label, 2, 1)
        grid.addWidget(_tool("+", "Zoom in (Ctrl++)", lambda: self.graph.step_zoom(1)), 2, 2)
        row.addWidget(side)
        lists = QTabWidget()
        lists.setDocumentMode(True)
        lists.addTab(self.table, "Layers")
        lists.addTab(self.blame, "Blame")
        lists.addTab(self.heat, "Heat map")
        lists.addTab(self.changes, "Changes")
        lists.addTab(self.skipped, "Skipped")
        corner = QWidget()
        corner_row = QHBoxLayout(corner)
        corner_row.setContentsMargins(0, 2, 10, 2)
        corner_row.addWidget(self.search)
        lists.setCornerWidget(corner)
        self.lists = lists
        lower = QSplitter(Qt.Orientation.Horizontal)
        lower.setObjectName("lower-splitter")
        lower.addWidget(self.tradeoff)
        lower.addWidget(lists)
        lower.setStretchFactor(1, 1)
        left = QSplitter(Qt.Orientation.Vertical)
        left.setObjectName("left-splitter")
        left.addWidget(upper)
        left.addWidget(lower)
        left.setStretchFactor(0, 1)
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.setObjectName("network-splitter")
        whole.addWidget(left)
        whole.addWidget(self.inspector)
        whole.setStretchFactor(0, 1)
        self._whole, self._left, self._lower = whole, left, lower
        for splitter in (lower, left, whole):
            splitter.setHandleWidth(6)
            splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(whole)
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type; splitters go where they start."""
        self.search.setFixedWidth(fonts.px(120 if self._compact else 190))
        self.search.setPlaceholderText("Find layer" if self._compact else "Find layer (Ctrl+F)")
        self.inspector.setMaximumWidth(fonts.px(560))
        inspector, plot, lists = (392, 316, 206) if self._compact else (432, 366, 214)
        _divide(self._whole, 1, fonts.px(inspector))
        _divide(self._left, 1, fonts.px(lists))
        _divide(self._lower, 0, fonts.px(plot))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._divided:  # the first time that there is a size to divide
            self._divided = True
            self.rescale()

    def _connect(self) -> None:
        self.graph.selection_changed.connect(self._selected)
        self.graph.viewport_moved.connect(lambda: self._zoom_label.setText(f"{100 * self.graph.zoom:.0f} %"))
        self.table.picked.connect(self.graph.select)
        self.inspector.step_by.connect(self._step)
        self.inspector.failed.connect(self.failed)
        self.inspector.furthest.connect(self.furthest.ask)
        self.furthest.failed.connect(self.failed)
        for panel in (self.blame, self.heat, self.skipped):
            panel.picked.connect(lambda name: self.graph.select([name], name))
        self.blame.cured.connect(self._cure)
        self.skipped.found.connect(self._show_skipped)
        self.inspector.skipped_asked.connect(lambda: self.lists.setCurrentWidget(self.skipped))
        self.heat.asked.connect(self.blame.measure)
        self.tradeoff.picked.connect(self._back_to)
        self.search.textChanged.connect(self._search)
        self.search.returnPressed.connect(self._search_next)
        # Not on the buttons: those of a hidden panel would not hear their keys.
        for keys, act in (
            ("Ctrl+F", self._focus_search), ("M", self.toggle_minimap), ("Escape", self._deselect),
            ("Ctrl+B", self.measure_blame), ("Ctrl+0", self.graph.fit),
            ("Ctrl++", lambda: self.graph.step_zoom(1)), ("Ctrl+=", lambda: self.graph.step_zoom(1)),
            ("Ctrl+-", lambda: self.graph.step_zoom(-1)),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    # -- what the session tells -------------------------------------------------------------------

    def set_session(self, session: Session | None) -> None:
        """Show another network, or nothing."""
        self.session = session
        self.graph.set_session(session)
        self.inspector.set_session(session, self.graph.thumbnails)
        self.table.set_rows([plain_row(layer) for layer in session.graph.weighted] if session else [])
        self._show_skipped(())
        for panel in (self.blame, self.heat, self.changes, self.skipped):
            panel.set_session(session)
        self.furthest.set_session(session)
        self.tradeoff.set_session(session)
        if session is not None and self.graph.thumbnails is not None:
            self.graph.thumbnails.ready.connect(self._thumbnail)
            # Some may have been made before this was connected.
            self._fresh = {layer.name for layer in session.graph.weighted}
            self._gather.start()
            if session.graph.weighted:
                first = session.graph.weighted[0].name
                self.graph.select([first], first)

    def plan_changed(self, old: Plan, new: Plan) -> None:
        """Show a new plan; only what differs is drawn again."""
        model = self.graph.model
        if self.session is None or self.graph.thumbnails is None or model is None:
            return
        model.take_plan(self.session.plan)
        self.graph.thumbnails.refresh(changed_layers(self.session, old, new), first=model.current)
        self.graph.viewport().update()
        self.skipped.follow()
        self.inspector.plan_changed(old, new)
        self.tradeoff.refresh()

    def cost_changed(self, plan: Plan, cost: Cost) -> None:
        """Show exact bytes of all layers."""
        self.inspector.show_since()
        if self.graph.model is not None:
            self.graph.model.bytes = dict(cost.layer_bytes)
            self.graph.viewport().update()

    def estimate_changed(self, result: Result) -> None:
        """Show where the plan is expected to be."""
        self.tradeoff.set_estimate(result)
        self.inspector.estimate_changed(result)

    def result_changed(self, result: Result) -> None:
        """Show a measured result."""
        if self.session is not None and self.graph.model is not None and result.plan_key == self.session.plan.key:
            if result.complete:
                self.graph.model.measured(self.session.plan)
                self.graph.viewport().update()
                self.inspector.measured(self.session.plan)
                self.changes.refresh()
            else:
                self.inspector.show_since()
        self.tradeoff.refresh()

    def blame_changed(self) -> None:
        """Show newly measured shares of layers."""
        self.blame.refresh()
        self.heat.refresh()
        self.graph.viewport().update()
        self.minimap.update()
        if not self._gather.isActive():
            self._gather.start()

    def effect_changed(self, layer: str, stage: Stage, effect: Effect) -> None:
        """Show what a step changes."""
        self.inspector.effect_changed(layer, stage, effect)

    def set_compact(self, compact: bool) -> None:
        """Layout of small windows: no minimap, fewer columns."""
        if compact == self._compact:
            return
        self._compact = compact
        self._side.setVisible(not compact)
        self.table.set_compact(compact)
        self.rescale()

    def toggle_minimap(self) -> None:
        """Show or hide the minimap."""
        self._side.setVisible(not self._side.isVisible())

    def measure_blame(self) -> None:
        """Show the list of blame, unless the heat map is shown, and measure it."""
        if self.lists.currentWidget() is not self.heat:
            self.lists.setCurrentWidget(self.blame)
        self.blame.measure()

    # -- what the user does -----------------------------------------------------------------------

    def _selected(self, names: list[str], current: str) -> None:
        self.inspector.show_layers(names, current)
        self.table.follow(names)

    def _step(self, by: int) -> None:
        name = self.graph.model.neighbour(by) if self.graph.model else None
        if name:
            self.graph.select([name], name)

    def _thumbnail(self, name: str) -> None:
        self._fresh.add(name)
        if not self._gather.isActive():
            self._gather.start()

    def _show_fresh(self) -> None:
        """Show new thumbnails in the table, many at once."""
        names, self._fresh = self._fresh, set()
        session = self.session
        if session is None or self.graph.thumbnails is None:
            return
        found = [self.graph.thumbnails.find(name) for name in names]
        self.table.update_rows([thumbnail.row for thumbnail in found if thumbnail is not None])
        self.table.layers.update_points(lambda name: points_lost(session, name))

    def _show_skipped(self, steps: tuple[Skipped, ...]) -> None:
        self.inspector.show_skipped(steps)
        count = f" {len(steps)}" if steps else ""
        self.lists.setTabText(self.lists.indexOf(self.skipped), f"Skipped{count}")
        self.lists.setTabToolTip(self.lists.indexOf(self.skipped), counted(steps) or NOTHING)

    def _cure(self, layer: str, step: Step) -> None:
        if self.session is not None:
            self.session.set_step(layer, step)

    def _back_to(self, measured: Measured) -> None:
        if self.session is not None:
            self.session.set_plan(measured.plan, f"back to {measured.label}")

    def _focus_search(self) -> None:
        self.search.setFocus()
        self.search.selectAll()

    def _search(self, text: str) -> None:
        found = self._found()
        missed = bool(text.strip()) and not found
        self.search.setProperty("missed", missed)
        self.search.style().polish(self.search)
        self.search.setToolTip("No layer of that name" if missed else "Return goes on to the next, Escape back")
        if found:
            self.graph.select(found[:1], found[0])

    def _found(self) -> list[str]:
        text = self.search.text()
        return self.graph.model.search(text) if self.graph.model and text.strip() else []

    def _search_next(self) -> None:
        """Go to the match behind the current one."""
        found = self._found()
        current = self.graph.model.current if self.graph.model else None
        if found:
            name = found[(found.index(current) + 1) % len(found)] if current in found else found[0]
            self.graph.select([name], name)

    def _deselect(self) -> None:
        if self.search.hasFocus():
            self.search.clear()
            self.graph.setFocus()


def changed_layers(session: Session, old: Plan, new: Plan) -> list[str]:
    """Weighted layers whose stored weights may differ: a rewrite of one layer changes its neighbours' too."""
    before, after = (session.engine.resolve(plan) for plan in (old, new))
    names = [layer.name for layer in session.graph.weighted]
    if before.rewrites != after.rewrites:
        return names
    return [name for name in names if before.steps.get(name) != after.steps.get(name)]


def _divide(splitter: QSplitter, which: int, size: int) -> None:
    """Give one of two parts `size` pixels and the other the rest: Qt shrinks both where their sum is too large."""
    whole = splitter.width() if splitter.orientation() == Qt.Orientation.Horizontal else splitter.height()
    rest = max(1, whole - splitter.handleWidth() - size)
    splitter.setSizes([rest, size] if which else [size, rest])


def _button(text: str, tip: str, act: object) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(act)
    return button


def _tool(text: str, tip: str, act: object) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setObjectName("outlined")
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.clicked.connect(act)
    return button
