"""A session as a text table: what a notebook cell shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.session.session import Session


def table(session: Session) -> str:
    """One line a weighted layer, with the totals above; only what is known already is shown."""
    graph, plan, result = session.graph, session.plan, session.measured.get(session.plan.key)
    cost, before = session.engine.known_cost(plan), session.float_cost_known
    bytes_now = dict(cost.layer_bytes) if cost else {}
    lines = [f"{session.path.name}: {len(graph.weighted)} layers, {graph.parameters:,} parameters, {graph.macs:,} MACs"]
    if cost is not None and before is not None:
        flash = f"flash {cost.flash_bytes / 1024:,.1f} KiB (float {before.flash_bytes / 1024:,.1f})"
        lines.append(
            f"{flash}, peak RAM {cost.peak_ram_bytes / 1024:,.1f} KiB (float {before.peak_ram_bytes / 1024:,.1f})"
        )
    r = None if result is None else result.result
    if r is not None and r.value is not None:
        spread = f" ± {50 * (r.interval[1] - r.interval[0]):.2f}" if r.interval else ""
        delta = f", {100 * r.delta:+.2f} points against float" if r.delta is not None else ""
        quick = f" (quick form: {r.quick})" if r.quick else ""
        lines.append(f"{r.metric} {100 * r.value:.2f} %{spread} on {r.samples:,} of {r.total:,} samples{delta}{quick}")
    width = max((len(n.name) for n in graph.weighted), default=5)
    lines.append(f"{'layer':<{width}}  {'KiB':>9}  {'of':>9}  steps")
    for layer in graph.weighted:
        now = bytes_now.get(layer.name, 4 * layer.parameters) / 1024
        chips = " ".join(s.found.chip(s.values) for s in plan.steps(layer.name)) or "float"
        lines.append(f"{layer.name:<{width}}  {now:>9,.1f}  {4 * layer.parameters / 1024:>9,.1f}  {chips}")
    return "\n".join(lines)
