"""All steps of the plan that some layer does not take, each with the reason: nothing is left out silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHeaderView, QWidget

from studio.core import registry
from studio.core.errors import StudioError
from studio.core.graph import Graph
from studio.core.plan import Plan
from studio.desktop import cells, fonts
from studio.desktop.latest import Latest
from studio.desktop.network.list_panel import ListPanel

if TYPE_CHECKING:
    from studio.engine.resolve import Skipped
    from studio.session import Session

COLUMNS = ("Layer", "Step", "From", "Why not here")
TIPS = ("", "", "Where the plan says it: for all layers, set here, or on the layer of which this is a factor", "")
NOTHING = "Every layer takes every step that the plan has for it."


class SkippedPanel(ListPanel):
    """Follows the plan. `found(steps)`: what layers do not take under the plan, as soon as that is known."""

    found = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        table = cells.table(COLUMNS, "Steps that layers do not take", TIPS, left=range(len(COLUMNS)))
        table.setAlternatingRowColors(True)
        table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        table.horizontalHeader().setStretchLastSection(True)
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)  # reasons are sentences
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        super().__init__("skipped", table, parent)
        self.steps: tuple[Skipped, ...] = ()
        self._latest: Latest | None = None
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.table.verticalHeader().setMinimumSectionSize(fonts.px(26))
        for column, width in enumerate((150, 110, 90)):
            self.table.setColumnWidth(column, fonts.px(width))

    def set_session(self, session: Session | None) -> None:
        """Follow another session's plan."""
        if self._latest is not None:
            self._latest.close()
        self.steps = ()
        self._latest = Latest("skipped steps", self) if session is not None else None
        if self._latest is not None:
            self._latest.answered.connect(self._answered)
        super().set_session(session)
        self.follow()

    def follow(self) -> None:
        """Find the steps that the current plan's layers do not take: beside, for its network may have to be made."""
        session = self._session
        if session is not None and self._latest is not None:
            plan = session.plan
            self._latest.ask(plan.key, lambda: session.engine.skipped(plan))

    def layer(self, row: int) -> str:
        """Layer that a row is about, a factor's own layer."""
        name = super().layer(row)
        inside = self._session is None or name in self._session.graph
        return name if inside else name.rpartition("/")[0]

    def _answered(self, key: str, answer: Any) -> None:
        session = self._session
        if session is None or key != session.plan.key:
            return
        # A plan that cannot be carried out yet, for want of data, says so elsewhere; its defaults are known.
        failed = isinstance(answer, StudioError)
        self.steps = session.engine.resolve(session.plan).skipped if failed else answer
        self.refresh()
        self.found.emit(self.steps)

    def _show(self) -> None:
        self.text.setText(f"{counted(self.steps)}." if self.steps else NOTHING)
        self._resize(len(self.steps))
        for i, one in enumerate(self.steps):
            assert self._session is not None
            step = registry.find("techniques", one.technique).title
            origin = where_from(one, self._session.plan, self._session.graph)
            for column, text in enumerate((one.layer, step, origin, one.reason)):
                cells.write(self.table, i, column, text, text, left=True)


def counted(steps: Sequence[Skipped]) -> str:
    """`2 steps skipped on 3 layers`: different techniques, different layers; nothing for none."""
    techniques, layers = len({one.technique for one in steps}), len({one.layer for one in steps})
    return f"{_many(techniques, 'step')} skipped on {_many(layers, 'layer')}" if steps else ""


def reasons(steps: Sequence[Skipped], layer: str) -> str:
    """Reasons of one technique on one layer, each once; of a factor with its number."""
    return " ".join(dict.fromkeys(one.reason if one.layer == layer else _of_part(one, layer) for one in steps))


def _of_part(one: Skipped, layer: str) -> str:
    return f"{one.layer.removeprefix(layer)}: {one.reason}" if one.layer.startswith(f"{layer}/") else one.reason


def where_from(one: Skipped, plan: Plan, graph: Graph) -> str:
    """Where a plan says the step that was skipped."""
    if any(step.technique == one.technique for step in plan.layers.get(one.layer, ())):
        return "set here"
    return "all layers" if one.layer in graph else "inherited"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")
