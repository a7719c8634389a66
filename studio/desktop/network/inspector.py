"""The selected layer: weights, importance, technique stack, activation; several layers at once too."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core import registry
from studio.core.errors import StudioError
from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.desktop import fonts, icons
from studio.desktop.network.charts import ImportanceChart
from studio.desktop.network.cut_note import cut_note
from studio.desktop.network.labels import line, secondary, section, titled, weights_title
from studio.desktop.network.layer_views import LayerViews
from studio.desktop.network.since import since
from studio.desktop.network.skipped import counted, reasons
from studio.desktop.network.technique_card import TechniqueCard
from studio.desktop.network.thumbnails import Thumbnails
from studio.session.events import Effect
from studio.session.layer_parts import skipped_on

if TYPE_CHECKING:
    from studio.core.result import Result
    from studio.engine.resolve import Skipped
    from studio.session import Session

MOVES = itertools.count()
FLOAT = "Switches quantization off here; pruning stays (Ctrl+L)"


class Inspector(QScrollArea):
    """Edits the selected layers of a session. `step_by(±1)` asks for the neighbour, `failed(text)` tells a refusal.

    `furthest(layers, step)`: the user wants their channels cut as far as the metric allows.
    `skipped_asked()`: the user wants to see which steps of the plan layers do not take.
    """

    step_by = Signal(int)
    failed = Signal(object)
    furthest = Signal(list, object)
    skipped_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("inspector")
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._session: Session | None = None
        self._thumbnails: Thumbnails | None = None
        self._names: list[str] = []
        self._current = ""
        self._gesture: object = None
        self._skipped: tuple[Skipped, ...] = ()
        self._measured: Plan | None = None  # the last one that was measured on all samples
        self._estimate: Result | None = None
        body = QWidget()
        body.setObjectName("inspector-body")
        self._layout = QVBoxLayout(body)
        self._layout.setContentsMargins(14, 12, 14, 12)
        self._layout.setSpacing(8)
        self.setWidget(body)
        self._build_head()
        self._build_charts()
        self._build_techniques()
        self._layout.addStretch(1)
        self.retint()
        self.rescale()
        self._show_layer()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setMinimumWidth(fonts.px(392))
        widest = max((card.check.sizeHint().width() for card in self.cards.values()), default=0)
        for card in self.cards.values():
            card.check.setMinimumWidth(widest)

    def retint(self) -> None:
        """Draw icons and titles in the colours of the theme."""
        for name, button in self._arrows.items():
            button.setIcon(icons.icon(name))
        if self._current:
            self.thumbnail_ready(self._current)
            self._show_importance()

    def _build_head(self) -> None:
        row = QHBoxLayout()
        self._arrows: dict[str, QToolButton] = {}
        self.title = QLabel()
        self.title.setObjectName("page-title")
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row.addWidget(self.title, 1)
        for arrow, by, text in (
            ("up", -1, "Previous layer (Up in the graph)"),
            ("down", 1, "Next layer (Down in the graph)"),
        ):
            button = QToolButton()
            self._arrows[arrow] = button
            button.setAutoRaise(True)
            button.setToolTip(text)
            button.setAccessibleName(text)
            button.clicked.connect(lambda _=False, by=by: self.step_by.emit(by))
            row.addWidget(button)
        self._layout.addLayout(row)
        row = QHBoxLayout()
        self.detail, self.sizes = secondary(""), QLabel()
        row.addWidget(self.detail, 1)
        row.addWidget(self.sizes)
        self._layout.addLayout(row)

    def _build_charts(self) -> None:
        self._charts = QWidget()
        layout = QVBoxLayout(self._charts)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(6)
        self.views, self.importance = LayerViews(), ImportanceChart()
        self.weights = self.views.weights
        self.views.rank_moved.connect(self._move_rank)
        log = QCheckBox("log y")
        log.setToolTip("Logarithmic counts: shows the tails")
        log.toggled.connect(self.weights.set_log)
        self.views.tabs.currentChanged.connect(lambda at: log.setVisible(at == 0))
        self.views.tabs.currentChanged.connect(lambda _: self.thumbnail_ready(self._current))
        self.weights_title = section("Weights")
        layout.addLayout(line(self.weights_title, log))
        layout.addWidget(self.views)
        self.criterion = QComboBox()
        self.criterion.setAccessibleName("Importance criterion")
        for name in registry.names("criteria"):
            found = registry.find("criteria", name)
            self.criterion.addItem(found.title, name)
            self.criterion.setItemData(self.criterion.count() - 1, found.help, Qt.ItemDataRole.ToolTipRole)
        self.criterion.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.criterion.setMinimumContentsLength(8)
        self.criterion.setCurrentIndex(self.criterion.findData("l1"))
        self.criterion.activated.connect(lambda _: self._show_importance())
        self.importance_title = section("Importance")
        layout.addLayout(line(self.importance_title, self.criterion))
        layout.addWidget(self.importance)
        self._layout.addWidget(self._charts)

    def _build_techniques(self) -> None:
        self._techniques = QWidget()
        layout = QVBoxLayout(self._techniques)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(line(section("Techniques"), secondary("effect when on")))
        self.skipped_link = QPushButton()
        self.skipped_link.setObjectName("link")
        self.skipped_link.setToolTip("List the steps of the plan that layers do not take, with the reasons")
        self.skipped_link.clicked.connect(lambda _=False: self.skipped_asked.emit())
        self.skipped_link.hide()
        layout.addWidget(self.skipped_link, 0, Qt.AlignmentFlag.AlignLeft)
        found = [registry.find("techniques", name) for name in registry.names("techniques")]
        self.cards: dict[str, TechniqueCard] = {}  # by technique, in the order in which they act
        for technique in sorted(found, key=lambda f: f.stage):
            if technique.stage >= Stage.CODE and not any(c.found.stage >= Stage.CODE for c in self.cards.values()):
                layout.addWidget(secondary("stored form and kernel"))
            card = TechniqueCard(technique.name)
            card.changed.connect(self._set_step)
            card.switched.connect(lambda on, card=card: self._switch(card, on))
            card.action_asked.connect(lambda card=card: self.furthest.emit(list(self._names), card.step))
            self.cards[technique.name] = card
            layout.addWidget(card)
        self.activation = QComboBox()
        self.activation.setAccessibleName("Activation format of the output")
        for text, bits in (("by the rule", None), ("int8", 8), ("16 bits", 16), ("float", 32)):
            self.activation.addItem(text, bits)
        self.activation.activated.connect(self._set_activation)
        self.float_button = QPushButton("Leave in float")
        self.float_button.setToolTip(FLOAT)
        self.float_button.setShortcut("Ctrl+L")
        self.float_button.clicked.connect(self._leave_float)
        label = QLabel("Output tensor")
        label.setBuddy(self.activation)
        layout.addLayout(line(label, self.activation, self.float_button))
        self.sqnr = secondary("")
        layout.addWidget(self.sqnr)
        self._layout.addWidget(self._techniques)

    # -- what is shown ----------------------------------------------------------------------------

    def set_session(self, session: Session | None, thumbnails: Thumbnails | None) -> None:
        """Inspect another network, or nothing; `thumbnails` computes what the charts draw."""
        self._session, self._thumbnails, self._names, self._current = session, thumbnails, [], ""
        self._measured = self._estimate = None
        self.show_skipped(())
        self.views.set_session(session)
        if thumbnails is not None:
            thumbnails.ready.connect(self.thumbnail_ready)
            thumbnails.scored.connect(self.scored)
        self._show_layer()

    def show_layers(self, names: list[str], current: str) -> None:
        """Inspect layers: the current one is drawn, changes go to all of them."""
        self._names, self._current = names, current
        self._show_layer()

    def plan_changed(self, old: Plan, new: Plan) -> None:
        """Show the new plan where it differs for this layer."""
        if self._session is not None and self._current:
            self._show_steps()
            self.views.refresh()

    def show_skipped(self, steps: tuple[Skipped, ...]) -> None:
        """Show which steps of the plan layers do not take: this layer's in the cards, all of them counted."""
        self._skipped = steps
        self.skipped_link.setText(counted(steps))
        self.skipped_link.setVisible(bool(steps))
        self._show_reasons()

    def measured(self, plan: Plan) -> None:
        """Know the plan that was measured last."""
        self._measured, self._estimate = plan, None
        self.show_since()

    def estimate_changed(self, result: Result) -> None:
        """Know what is expected of the current plan."""
        self._estimate = result
        self.show_since()

    def show_since(self) -> None:
        """Show in each card what the hand has changed since the last measurement."""
        session, measured = self._session, self._measured
        if session is None or not self._current or measured is None:
            for card in self.cards.values():
                card.show_since(None, None)
            return
        for card in self.cards.values():
            card.show_since(*since(session, measured, self._estimate, self._names, self._current, card.found))

    def _show_reasons(self) -> None:
        if self._session is None or not self._current:
            return
        graph = self._session.graph
        here = skipped_on(self._skipped, graph.layer(self._current), graph)
        for card in self.cards.values():
            card.show_skipped(reasons([one for one in here if one.technique == card.technique], self._current))

    def effect_changed(self, layer: str, stage: Stage, effect: Effect) -> None:
        """Show a measured effect of a step of this layer."""
        if layer == self._current:
            for card in self.cards.values():
                if card.found.stage == stage and card.on:
                    card.show_effect(effect)

    def _show_layer(self) -> None:
        shown = self._session is not None and bool(self._current)
        self._charts.setVisible(shown)
        self._techniques.setVisible(shown)
        if self._session is None or not self._current:
            self.title.setText("No layer selected")
            self.detail.setText("Select a layer in the graph or the table.")
            self.sizes.clear()
            return
        layer = self._session.graph.layer(self._current)
        others = len(self._names) - 1
        self.title.setText(layer.name + (f"  and {others} more" if others > 0 else ""))
        self.title.setToolTip(f"{layer.name}\n{layer.source}")
        shape = "×".join(map(str, layer.output_shape[1:]))
        self.detail.setText(f"{layer.detail} · {shape}")
        self._charts.setVisible(layer.weighted)
        self._techniques.setVisible(layer.weighted)
        self._show_steps()
        if not layer.weighted:
            self.sizes.setText(f"{layer.activation_bytes / 1024:,.1f} KiB output in float")
            return
        self.views.show_layer(layer.name)
        self.thumbnail_ready(layer.name)
        self._show_importance()

    def _show_steps(self) -> None:
        assert self._session is not None
        view = self._session.layer(self._current)
        steps = {step.stage: step for step in view.steps}
        for card in self.cards.values():
            step = steps.get(card.found.stage)
            mine = step if step is not None and step.technique == card.technique else None
            card.show_step(mine, view.reason(card.technique), replaces=step if mine is None else None)
            card.show_effect(None)
        for card in self.cards.values():
            if card.found.stage == Stage.STRUCTURE:
                card.show_note(*cut_note(view.layer, self._session.data is not None, card.check.isEnabled()))
        self._show_reasons()
        self.show_since()
        bits = self._session.plan.activations.layers.get(self._current)
        self.activation.setCurrentIndex(self.activation.findData(bits))
        self.float_button.setEnabled(Stage.GRID in steps)
        self.float_button.setToolTip(FLOAT if Stage.GRID in steps else "The weights of this layer are in float already")
        if view.layer.weighted:
            self._session.request_effects(self._current)

    def thumbnail_ready(self, name: str) -> None:
        """Draw the charts of the current layer from what was computed beside the main thread."""
        found = self._thumbnails.find(name) if self._thumbnails and name == self._current else None
        if found is None:
            return
        now = fonts.strong(f"{found.row.bytes / 1024:,.1f} KiB")
        self.sizes.setText(f"{4 * found.row.parameters / 1024:,.1f} → {now}")
        self.weights.show_weights(found.counts_before, found.counts_after, found.edges, found.levels)
        self.importance.show_dropped(found.dead)
        self.cards["low_rank"].show_note(" · ".join(found.parts))
        shared = self.cards["share_weights"].on
        self.weights_title.setText(weights_title(len(found.levels), shared, self.views.current))
        noise = found.row.sqnr_db
        self.sqnr.setText("" if noise is None else f"SQNR of the weights {noise:.1f} dB")

    def scored(self, name: str, criterion: str, answer: np.ndarray | str) -> None:
        """Draw the importance of the current layer, or say why there is none."""
        if name != self._current or criterion != self.criterion.currentData():
            return
        if isinstance(answer, str):
            self.importance.show_message(answer)
            self.importance_title.setText("Importance")
        else:
            self.importance.show_scores(answer)
            self.importance_title.setText(titled("Importance", f"{len(answer)} channels, sorted"))

    def _show_importance(self) -> None:
        if (
            self._thumbnails is not None
            and self._session is not None
            and self._session.graph.layer(self._current).weighted
        ):
            self._thumbnails.score(self._current, self.criterion.currentData())

    # -- what the user does -----------------------------------------------------------------------

    def _set_step(self, step: Step, final: bool) -> None:
        if self._gesture is None:
            self._gesture = f"drag {next(MOVES)}"
        self._apply(step, self._gesture)
        if final:
            self._gesture = None

    def _move_rank(self, rank: int, final: bool) -> None:
        """Move the slider of low rank to where its cut was dragged in the plot."""
        card, spectrum = self.cards["low_rank"], self.views.spectrum
        if self._session is not None and spectrum is not None:
            keep = self._session.layer(self._current).keep_of_rank(spectrum, card.step, rank)
            card.change("keep", keep, final)

    def _switch(self, card: TechniqueCard, on: bool) -> None:
        stage = card.found.stage
        self._apply(Step(card.technique) if on else Step.off(stage.name))

    def _leave_float(self) -> None:
        self._apply(Step.off(Stage.GRID.name))

    def _apply(self, step: Step, gesture: object = None) -> None:
        if self._session is None:
            return
        try:
            if len(self._names) > 1:
                self._session.apply(self._names, step, gesture)
            else:
                self._session.set_step(self._current, step, gesture)
        except StudioError as error:
            self.failed.emit(error)
            self._show_steps()

    def _set_activation(self) -> None:
        if self._session is not None:
            self._session.set_activation(self._current, self.activation.currentData())
