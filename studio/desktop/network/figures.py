"""Figures of one layer as table and inspector show them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import Stage

if TYPE_CHECKING:
    from studio.core.result import Cost, Result
    from studio.engine.sensitivity import SensitivityTable
    from studio.session import Session

_float_costs: WeakKeyDictionary[Session, Cost] = WeakKeyDictionary()
_known: tuple[SensitivityTable | None, dict[str, float]] = (None, {})


@dataclass(frozen=True)
class LayerRow:
    """Figures of one layer; None where a figure does not apply or is not measured."""

    name: str
    kind: str
    parameters: int
    macs: int
    bytes: int
    bits: int | None
    sparse: float | None
    sqnr_db: float | None
    points: float | None

    def values(self) -> tuple[Any, ...]:
        """Values in the order of the columns."""
        return (
            self.name, self.kind, self.parameters, self.macs, self.bytes, self.bits, self.sparse, self.sqnr_db,
            self.points,
        )  # fmt: skip


def row_of(session: Session, name: str) -> LayerRow:
    """Figures of a layer under the session's plan."""
    view = session.layer(name)
    steps = {step.stage: step for step in view.steps}
    grid, sparse = steps.get(Stage.GRID), steps.get(Stage.SPARSE)
    zeros = float((view.stored == 0).mean()) if sparse else None
    noise = view.sqnr_db
    return LayerRow(
        name, view.layer.detail.split(" · ")[0].split(", ")[0], view.layer.parameters, view.layer.macs, view.bytes,
        _bits(grid) if grid else None, zeros,
        None if noise is None or math.isinf(noise) else noise, points_lost(session, name),
    )  # fmt: skip


def _bits(grid: Step) -> int | None:
    """Bits of a stored weight: of its integer, or of its index into shared values."""
    values: Any = grid.values
    return getattr(values, "weight_bits", None) or getattr(values, "bits", None)


def plain_row(layer: Layer) -> LayerRow:
    """Figures that need no computing: what the table shows at once."""
    kind = layer.detail.split(" · ")[0].split(", ")[0]
    return LayerRow(layer.name, kind, layer.parameters, layer.macs, 4 * layer.parameters, None, None, None, None)


def float_cost(session: Session) -> Cost | None:
    """Sizes of the float network, None while they are not known.

    Asked of the engine until it answers, then kept: the engine may be busy encoding, and painting must not wait.
    """
    found = _float_costs.get(session)
    if found is None:
        found = session.float_cost_known
        if found is not None:
            _float_costs[session] = found
    return found


def expected(session: Session, guess: Result) -> float | None:
    """Metric that an estimate expects, 0..1: its difference, from the float model as measured on the most samples.

    The table of shares comes from few samples; their own float value is no better than that.
    """
    known = session.float_result
    if guess.delta is None or known is None or known.value is None:
        return guess.value
    return min(1.0, max(0.0, known.value + guess.delta))


def points_lost(session: Session, name: str) -> float | None:
    """Measured share of a layer at 4 bits in points, 0 and more; None where it was not measured."""
    return _points(session.blame).get(name) if session.blame else None


def _points(table: SensitivityTable) -> dict[str, float]:
    """Points lost by layer; made once for a table, because every painting asks for every layer."""
    global _known
    if _known[0] is not table:
        rows = (row for row in table.rows if row.case == "int4" and row.mode == "alone")
        _known = (table, {row.layer: max(0.0, -100 * row.delta) for row in rows})
    return _known[1]
