"""What the graph view shows of each row, without painting."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.core.plan import Plan, Step
from studio.desktop.network.figures import points_lost
from studio.desktop.network.lanes import Lanes, lanes_of
from studio.desktop.network.rows import Row, block_names, rows_of

if TYPE_CHECKING:
    from studio.session import Session

HEIGHTS = {"card": 46, "slim": 26, "header": 30, "block": 46}
GAP = 5
LARGE = 60
"""Networks with more weighted layers than this open with their blocks collapsed."""


@dataclass(frozen=True)
class Chip:
    """A technique on a card; dashed = changed since the last measurement."""

    text: str
    technique: str
    dashed: bool


class GraphModel:
    """Rows, their places, selection and the plan's chips of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        blocks = set(block_names(session.graph).values())
        large = len(session.graph.weighted) > LARGE
        self.collapsed: frozenset[str] = frozenset(blocks) if large else frozenset()
        self.selected: tuple[str, ...] = ()
        self.current: str | None = None
        self.companions: frozenset[str] = frozenset()  # layers that are cut together with the current one
        self.measured_plan: Plan = session.plan
        self.take_plan(session.plan)
        self.bytes: dict[str, int] = {}
        self._layout()

    def _layout(self) -> None:
        self.rows: tuple[Row, ...] = rows_of(self.session.graph, self.collapsed)
        self.lanes: Lanes = lanes_of(self.session.graph, self.rows)
        self.tops: list[int] = []
        y = GAP
        for row in self.rows:
            self.tops.append(y)
            y += HEIGHTS[row.kind] + GAP
        self.height = y

    def take_plan(self, plan: Plan) -> None:
        """Know the steps that layers really get under the session's plan, their channel groups' among them."""
        self._plan_steps = self.session.engine.resolve(plan).steps
        self._measured_steps = self.session.engine.resolve(self.measured_plan).steps

    def measured(self, plan: Plan) -> None:
        """Chips of steps that were not part of this plan are dashed."""
        self.measured_plan = plan
        self.take_plan(self.session.plan)

    def toggle(self, block: str) -> None:
        """Open or collapse a block."""
        self.collapsed = self.collapsed ^ {block}
        self._layout()

    def collapse_all(self, collapsed: bool) -> None:
        """Open or collapse every block."""
        self.collapsed = frozenset(block_names(self.session.graph).values()) if collapsed else frozenset()
        self._layout()

    def row_at(self, y: float) -> int | None:
        """Index of the row at a height in unscaled pixels, or None in a gap."""
        i = bisect_right(self.tops, y) - 1
        if i < 0 or y > self.tops[i] + HEIGHTS[self.rows[i].kind]:
            return None
        return i

    def row_of(self, layer: str) -> int | None:
        """Row that shows a layer, its collapsed block's if need be."""
        for i, row in enumerate(self.rows):
            if row.kind != "header" and any(n.name == layer for n in row.layers):
                return i
        return None

    def reveal(self, layer: str) -> int | None:
        """Open the block of a layer and return its row."""
        block = block_names(self.session.graph).get(layer)
        if block in self.collapsed:
            self.toggle(str(block))
        return self.row_of(layer)

    def select(self, layers: Iterable[str], current: str | None) -> None:
        """Make layers the selection; `current` is the one the inspector shows."""
        self.selected = tuple(layers)
        self.current = current
        layer = self.session.graph.layer(current) if current is not None else None
        cut = layer is not None and layer.uncut is None
        self.companions = frozenset(layer.companions) if layer is not None and cut else frozenset()

    def neighbour(self, by: int) -> str | None:
        """Weighted layer `by` places after the current one, in open rows."""
        names = [row.layers[0].name for row in self.rows if row.kind == "card"]
        if not names:
            return None
        if self.current not in names:
            return names[0]
        return names[max(0, min(len(names) - 1, names.index(self.current) + by))]

    def between(self, a: str, b: str) -> tuple[str, ...]:
        """Weighted layers from one to another, both included, for Shift+click."""
        names = [layer.name for layer in self.session.graph.weighted]
        if a not in names or b not in names:
            return (b,)
        i, j = sorted((names.index(a), names.index(b)))
        return tuple(names[i : j + 1])

    def search(self, text: str) -> list[str]:
        """Names of weighted layers that contain the text, else of any layer."""
        text = text.lower().strip()
        weighted = [n.name for n in self.session.graph.weighted if text in n.name.lower()]
        return weighted or [n.name for n in self.session.graph.layers if text in n.name.lower()]

    def chips(self, row: Row) -> list[Chip]:
        """Techniques of a card; of a collapsed block each one with its count."""
        if row.kind == "card":
            return [self._chip(row.layers[0].name, step) for step in self._steps(row.layers[0].name)]
        counts: dict[tuple[str, str], int] = {}
        for layer in row.layers:
            for step in self._steps(layer.name) if layer.weighted else ():
                key = (step.found.chip(step.values), str(step.technique))
                counts[key] = counts.get(key, 0) + 1
        return [Chip(f"{n} {text}", technique, False) for (text, technique), n in counts.items()]

    def _steps(self, layer: str) -> Sequence[Step]:
        return self._plan_steps.get(layer, ())

    def _chip(self, layer: str, step: Step) -> Chip:
        dashed = step not in self._measured_steps.get(layer, ())
        return Chip(step.found.chip(step.values), str(step.technique), dashed)

    def sizes(self, row: Row) -> tuple[int, int]:
        """Bytes now and in float of all weighted layers of a row."""
        layers = [layer for layer in row.layers if layer.weighted]
        before = sum(4 * layer.parameters for layer in layers)
        return sum(self.bytes.get(layer.name, 4 * layer.parameters) for layer in layers), before

    def tint(self, layer: str) -> float | None:
        """Measured share of a layer at 4 bits in points, 0 and more; None where it was not measured."""
        return points_lost(self.session, layer)
