"""Which layers cost the most accuracy, measured: each layer compressed alone, and each layer spared.

The table feeds the tint of the graph, the blame list and the estimates shown before a plan has run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.result import Cost, Result
from studio.core.technique import Stage
from studio.engine.sensitivity_table import SensitivityRow, SensitivityTable, keep, load, merged, table_key

if TYPE_CHECKING:
    from studio.engine.engine import Engine, Progress

__all__ = ["BASIC", "CASES", "SensitivityRow", "SensitivityTable", "estimate", "known_table", "layer_drop",
           "measure_layers"]  # fmt: skip

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
"""Techniques and strengths of the heat map and of the command line."""
BASIC = ("int8", "int4", "pruned 50 %")
"""Cases that are measured spared too."""
SCORED = ("int8", "int4", "pruned 50 %", "rank 50 %")
"""Cases whose mean is the score of the criterion `sensitivity`."""
MODES = ("alone", "spared")
STRENGTHS: dict[str, tuple[str, Callable[[Any], float]]] = {
    "share_weights": ("shared 3 bit", lambda values: 2.0 ** (3 - values.bits)),
    "prune_weights": ("pruned 50 %", lambda values: values.amount / 0.5),
    "prune_channels": ("channels 30 %", lambda values: values.amount / 0.3),
    "low_rank": ("rank 50 %", lambda values: (1 - values.keep) / 0.5),
}
"""Measured case of a technique, and the error of its settings in shares of that of the case."""


def known_table(engine: Engine, known: SensitivityTable | None = None, chunks: int = CHUNKS) -> SensitivityTable | None:
    """What was measured already of this network on this data: rows of `known` and of the user's folder."""
    if engine.evaluator is None:
        return None
    key = table_key(engine, chunks)
    found = [table for table in (known, load(key)) if table is not None and table.key == key]
    return replace(found[0], rows=merged(*(table.rows for table in found))) if found else None


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

    Rows of `known` and of the user's folder count as measured, and every new one goes there: an interrupted
    measurement goes on where it was. Raises Cancelled when `stop()` says so, DataError without evaluation data.
    """
    base = engine.measure(Plan(), chunks, stop=stop)
    assert base.value is not None
    before = known_table(engine, known, chunks)
    table = SensitivityTable(
        base.metric, base.value, base.samples, before.rows if before else (), table_key(engine, chunks)
    )
    names = [layer.name for layer in engine.graph.weighted] if layers is None else layers
    todo = [(name, case) for case in cases for name in names]
    yield table
    for i, (layer, case) in enumerate(todo):
        if progress:
            progress("Measuring each layer's share", i, len(todo))
        for mode in modes if case in BASIC else ("alone",):
            if table.find(layer, case, mode) is None:
                with suppress(Refused):  # a layer that cannot take the step has no share
                    row = _companion(engine, table, layer, case) or _row(engine, layer, case, mode, base, chunks, stop)
                    table = replace(table, rows=(*table.rows, row))
                    keep(table)
                    yield table


def _companion(engine: Engine, table: SensitivityTable, layer: str, case: str) -> SensitivityRow | None:
    """Row of a layer whose channels are cut with those of a measured one: it is the same cut."""
    if CASES[case]().stage != Stage.STRUCTURE:
        return None
    companions = engine.graph.layer(layer).companions
    found = next((row for row in table.rows if row.case == case and row.layer in companions), None)
    return None if found is None else replace(found, layer=layer)


def layer_drop(engine: Engine, layer: str) -> float:
    """Mean loss of the metric, as a fraction, over `SCORED` when a layer alone is compressed; 0 where it gains.

    Cases that the layer cannot take do not count. Raises DataError without evaluation data.
    """
    *_, table = measure_layers(engine, cases=SCORED, layers=(layer,), modes=("alone",))
    rows = [row for case in SCORED if (row := table.find(layer, case)) is not None]
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
    engine.variant(plan, stop=stop, full=True)
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
    """Estimated accuracy of a plan that has not run: the shares of layers and channel groups added up.

    Between the measured strengths a share goes with the square of the error that the step makes: for bits
    with that of the size of a step, for what is removed with that of the amount.
    """
    drop = 0.0
    for name, steps in engine.resolve(plan).steps.items():
        first = engine.graph.layer(name).group == name  # a cut counts once for its group
        drop += sum(_share(table, name, step) for step in steps if first or step.stage != Stage.STRUCTURE)
    value = min(1.0, max(0.0, table.base + drop))
    return Result(
        plan.key, "estimate", table.metric, value, 0, table.samples, None, value - table.base, None, cost
    )  # fmt: skip


def _share(table: SensitivityTable, layer: str, step: Step) -> float:
    values: Any = step.values
    if step.technique == "quantize":
        return _bits_share(table, layer, values.weight_bits)
    case, strength = STRENGTHS.get(str(step.technique), ("", lambda _: 0.0))
    return _measured(table, layer, case) * strength(values) ** 2


def _measured(table: SensitivityTable, layer: str, case: str) -> float:
    row = table.find(layer, case)
    return row.delta if row else 0.0


def _bits_share(table: SensitivityTable, layer: str, bits: int) -> float:
    """On the line through the nearest measured widths, over the square of the step's size."""
    if bits < 4 and table.find(layer, "int2") is not None:
        low, high, case_low, case_high = 2, 4, "int2", "int4"
    else:
        low, high, case_low, case_high = 4, 8, "int4", "int8"
    few, many = _measured(table, layer, case_low), _measured(table, layer, case_high)
    return many + (few - many) * (4.0 ** (high - bits) - 1) / (4.0 ** (high - low) - 1)
