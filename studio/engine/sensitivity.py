"""Which layers cost the most accuracy, measured: each layer compressed alone, and each layer spared.

The table feeds the tint of the graph, the blame list and the estimates shown before a plan has run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.result import Cost, Result
from studio.core.technique import Stage

if TYPE_CHECKING:
    from studio.engine.engine import Engine, Progress

CHUNKS = 5
"""Chunks of the fixed subset that the table is measured on (250 samples)."""
CASES: dict[str, Callable[[], Step]] = {
    "int8": lambda: Step("quantize", weight_bits=8),
    "int4": lambda: Step("quantize", weight_bits=4),
    "pruned 50 %": lambda: Step("prune_weights", amount=0.5),
    "int2": lambda: Step("quantize", weight_bits=2),
    "shared 3 bit": lambda: Step("share_weights", bits=3),
    "channels 30 %": lambda: Step("prune_channels", amount=0.3, scope="layer"),
    "rank 50 %": lambda: Step("low_rank", keep=0.5),
}
"""Techniques and strengths of the heat map."""
BASIC = ("int8", "int4", "pruned 50 %")
"""Cases that estimates, the criterion and the command line use; only these are measured spared too."""
MODES = ("alone", "spared")


@dataclass(frozen=True)
class SensitivityRow:
    """One measurement. `mode` "alone": only this layer is compressed, delta to the float model.

    `mode` "spared": all layers but this one are, delta to all of them: what leaving it in float wins
    back. `bytes`: flash of the whole plan.
    """

    layer: str
    case: str
    mode: Literal["alone", "spared"]
    technique: str
    settings: Mapping[str, Any]
    value: float
    delta: float
    interval: tuple[float, float] | None
    bytes: int


@dataclass(frozen=True)
class SensitivityTable:
    """All rows, with the float model's value on the same samples."""

    metric: str
    base: float
    samples: int
    rows: tuple[SensitivityRow, ...]

    def find(self, layer: str, case: str, mode: str = "alone") -> SensitivityRow | None:
        """Row of a layer, or None where it was not measured."""
        return next((r for r in self.rows if (r.layer, r.case, r.mode) == (layer, case, mode)), None)

    def blame(self, case: str = "int8") -> list[SensitivityRow]:
        """Layers alone under one case, the most harmful first."""
        return sorted((r for r in self.rows if r.case == case and r.mode == "alone"), key=lambda r: r.delta)

    def to_json(self) -> dict[str, Any]:
        """Form of `edge-studio sensitivity --json` and of the project's file."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SensitivityTable:
        """Table from its JSON form."""
        rows = [{**r, "interval": r["interval"] and tuple(r["interval"])} for r in value["rows"]]
        return cls(value["metric"], value["base"], value["samples"], tuple(SensitivityRow(**r) for r in rows))


def measure_layers(
    engine: Engine,
    known: SensitivityTable | None = None,
    *,
    cases: tuple[str, ...] = BASIC,
    layers: tuple[str, ...] | None = None,
    modes: tuple[str, ...] = MODES,
    chunks: int = CHUNKS,
    stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> Iterator[SensitivityTable]:
    """Measure every layer (or those named) under every case, alone and spared; yields the table as it grows.

    Rows of `known` are kept, so that an interrupted measurement goes on where it was. Raises
    Cancelled when `stop()` says so.
    """
    base = engine.measure(Plan(), chunks, stop=stop)
    rows = list(known.rows) if known else []
    done = {(row.layer, row.case, row.mode) for row in rows}
    names = [layer.name for layer in engine.graph.weighted] if layers is None else layers
    todo = [(name, case) for case in cases for name in names]
    for i, (layer, case) in enumerate(todo):
        if progress:
            progress("Measuring each layer's share", i, len(todo))
        for mode in modes if case in BASIC else ("alone",):
            if (layer, case, mode) not in done:
                with suppress(Refused):  # a layer that cannot take the step has no share
                    rows.append(
                        _companion(engine, rows, layer, case) or _row(engine, layer, case, mode, base, chunks, stop)
                    )
        assert base.value is not None
        yield SensitivityTable(base.metric, base.value, base.samples, tuple(rows))


def _companion(engine: Engine, rows: list[SensitivityRow], layer: str, case: str) -> SensitivityRow | None:
    """Row of a layer whose channels are cut with those of a measured one: it is the same cut."""
    if CASES[case]().stage != Stage.STRUCTURE:
        return None
    companions = engine.graph.layer(layer).companions
    found = next((row for row in rows if row.case == case and row.layer in companions), None)
    return None if found is None else replace(found, layer=layer)


def layer_drop(engine: Engine, layer: str) -> float:
    """Mean loss of the metric, as a fraction, over all cases when a layer alone is compressed; 0 where it gains.

    Raises DataError without evaluation data.
    """
    rows: tuple[SensitivityRow, ...] = ()
    for table in measure_layers(engine, layers=(layer,), modes=("alone",)):
        rows = table.rows
    return max(0.0, -sum(row.delta for row in rows) / len(rows)) if rows else 0.0


def _row(
    engine: Engine, layer: str, case: str, mode: str, base: Result, chunks: int, stop: Callable[[], bool] | None
) -> SensitivityRow:
    step = CASES[case]()
    everywhere = Plan(defaults=(step,))
    if step.stage == Stage.STRUCTURE:
        group = engine.graph.layer(layer).group
        own = Plan(groups={group: (step,)}) if group is not None else Plan(layers={layer: (step,)})
    else:
        own = Plan(layers={layer: (step,)})
    plan = own if mode == "alone" else Plan(defaults=(step,), layers={layer: ()})
    before = base if mode == "alone" else engine.measure(everywhere, chunks, stop=stop)
    result = engine.measure(plan, chunks, stop=stop)
    assert result.value is not None
    assert before.value is not None
    interval = result.delta_interval if mode == "alone" else None
    kind: Literal["alone", "spared"] = "alone" if mode == "alone" else "spared"
    return SensitivityRow(
        layer, case, kind, str(step.technique), dict(step.settings), result.value,
        result.value - before.value, interval, result.cost.flash_bytes,
    )  # fmt: skip


def estimate(table: SensitivityTable, plan: Plan, engine: Engine, cost: Cost) -> Result:
    """Estimated accuracy of a plan that has not run: the layers' own shares added up.

    Between the measured strengths the share is interpolated: bits on the line through 8 and 4 in
    powers of two of the step size, pruning with the square of the amount.
    """
    drop = 0.0
    for name, steps in engine.resolve(plan).steps.items():
        drop += sum(_share(table, name, step) for step in steps)
    value = min(1.0, max(0.0, table.base + drop))
    return Result(
        plan.key, "estimate", table.metric, value, 0, table.samples, None, value - table.base, None, cost
    )  # fmt: skip


def _share(table: SensitivityTable, layer: str, step: Step) -> float:
    def measured(case: str) -> float:
        row = table.find(layer, case)
        return row.delta if row else 0.0

    if step.technique == "quantize":
        at8, at4 = measured("int8"), measured("int4")
        bits: int = step.values.weight_bits  # type: ignore[attr-defined]
        return at8 + (at4 - at8) * (4.0 ** (8 - bits) - 1) / (4.0**4 - 1)
    if step.technique == "prune_weights":
        amount: float = step.values.amount  # type: ignore[attr-defined]
        return measured("pruned 50 %") * (amount / 0.5) ** 2
    return 0.0
