"""Low rank on every case: accuracy over bytes, factors from the weights alone beside data-aware ones, in one run."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, open_case, say, table

KEEPS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
FORMS = {
    "channel plain": {"form": "channel", "data_aware": False},  # the truncated SVD of the literature
    "channel aware": {"form": "channel"},
    "auto plain": {"data_aware": False},
    "auto aware": {},
}
CHUNKS = 40
"""Chunks of 50 samples that the curve is measured on."""
ROUNDS = 5


def curve(session: Any, keeps: tuple[float, ...], chunks: int) -> list[dict[str, Any]]:
    """Share of the float bytes and value at each share of the weights, by form."""
    from studio.core.plan import Plan, Step

    engine, rows = session.engine, []
    dense = engine.cost(Plan()).flash_bytes
    for keep in keeps:
        row: dict[str, Any] = {"keep": keep}
        for name, settings in FORMS.items():
            found = engine.measure(Plan(defaults=(Step("low_rank", keep=keep, **settings),)), chunks)
            row[name] = {"value": found.value, "bytes": found.cost.flash_bytes, "share": found.cost.flash_bytes / dense}
        rows.append(row)
    return rows


def slider(session: Any) -> dict[str, Any]:
    """Ms of the first low-rank step on the largest layer that takes one, and the median of moves of its slider."""
    from studio.core.plan import Plan, Step

    step = Step("low_rank")
    layers = [n for n in session.graph.weighted if step.found.refuses(n, step.values) is None]
    layer = max(layers, key=lambda n: n.parameters)
    found: dict[str, Any] = {"layer": f"{layer.name} ({layer.detail})"}
    for name, settings in FORMS.items():
        times = []
        for i in range(ROUNDS + 1):
            plan = Plan().with_step(layer.name, Step("low_rank", keep=0.61 - 0.043 * i, **settings))
            began = time.thread_time()
            session.engine.variant(plan)
            times.append(1e3 * (time.thread_time() - began))
        found[name] = {"first_ms": times[0], "move_ms": statistics.median(times[1:])}
    return found


def measure(case: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Figures of one case."""
    from studio.core.plan import Plan

    session = open_case(case)
    session.cancel()
    engine = session.engine
    chunks = min(10 if quick else CHUNKS, engine.evaluator.chunks)
    speed = slider(session)  # first: nothing is known yet
    rows = curve(session, KEEPS[1::2] if quick else KEEPS, chunks)
    base = engine.measure(Plan(), chunks)
    session.close()
    return {
        "case": case["name"], "metric": base.metric, "samples": base.samples,
        "same": case["calibration"] == "same file", "float": base.value, "rows": rows,
        "slider": speed, "mean": {name: statistics.fmean(row[name]["value"] for row in rows) for name in FORMS},
    }  # fmt: skip


def text(found: list[dict[str, Any]]) -> str:
    """Curve and slider times as tables."""
    lines = [
        [c["case"], f"{row['keep']:.0%}",
         *(f"{row[name]['value']:.4f} ({row[name]['share']:.1%})" for name in FORMS)]
        for c in found for row in c["rows"]
    ]  # fmt: skip
    means = [
        [c["case"], c["metric"], c["samples"], "evaluation's" if c["same"] else "own", f"{c['float']:.4f}",
         *(f"{c['mean'][name]:.4f}" for name in FORMS)]
        for c in found
    ]  # fmt: skip
    times = [
        [c["case"], c["slider"]["layer"],
         *(f"{c['slider'][name]['move_ms']:.0f} ({c['slider'][name]['first_ms']:.0f})" for name in FORMS)]
        for c in found
    ]  # fmt: skip
    names = list(FORMS)
    return (
        "All layers that take it, in float, without retraining; channel plain = truncated SVD. Mean over the curve:\n\n"
        + table(["case", "metric", "samples", "calibration samples", "float", *names], means)
        + "\nValue (share of the float bytes) by share of the weights kept:\n\n"
        + table(["case", "keep", *names], lines)
        + "\nA move of the slider on the largest layer, ms of processor time on one thread (in brackets the first "
        "move, with samples and SVD):\n\n" + table(["case", "layer", *names], times)
    )


def main() -> int:
    """Run all cases; exit 1 where data-aware factors are worse than plain ones, averaged over the curve."""
    args = arguments(__doc__ or "").parse_args()
    import torch

    torch.set_num_threads(1)
    names = [case["name"] for case in json.loads((SHARED / "CASES.json").read_text())["cases"]]
    found = []
    for case in cases(*(["ic_resnet8", "ad_autoencoder"] if args.quick else names)):
        say(case["name"])
        found.append(measure(case, args.quick))
    kept = all(
        case["mean"]["channel aware"] >= case["mean"]["channel plain"]
        and case["mean"]["auto aware"] >= case["mean"]["auto plain"]
        for case in found
    )
    finish(args, "Low rank: data-aware beside plain", {"cases": found, "kept": kept}, text(found))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
