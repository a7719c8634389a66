"""Preview latency per layer position against a full pass, both measured in one run, side by side."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

ROUNDS = 5


def latency(session: Any, layer: str, chunks: int) -> tuple[float, float]:
    """Median ms of one edit of `layer` with everything else known, and of a cold pass, taken in turn."""
    from studio.core.plan import Plan, Step
    from studio.engine.cache import ActivationCache
    from studio.engine.evaluator import Evaluator

    engine = session.engine
    base = Plan(defaults=(Step("quantize"),))
    engine.outputs(base, chunks, focus=layer)
    warm, cold = [], []
    for i in range(ROUNDS):
        plan = base.with_step(layer, Step("quantize", weight_bits=7 - i % 5, per_channel=i % 2 == 0))
        began = time.perf_counter()
        program = engine.program(plan)
        engine.evaluator.outputs(program, chunks, focus=layer)
        warm.append(time.perf_counter() - began)
        fresh = Evaluator(engine.evaluator.dataset, cache=ActivationCache(0))
        began = time.perf_counter()
        fresh.outputs(program, chunks)
        cold.append(time.perf_counter() - began)
    return 1e3 * statistics.median(warm), 1e3 * statistics.median(cold)


def main() -> int:
    """Measure every weighted layer (a few with --quick)."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", default="cifar10_resnet20", help="name in CASES.json")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    session = open_case(cases(args.case)[0], 500)
    session.cancel()
    layers = [layer.name for layer in session.graph.weighted]
    chunks = 4 if args.quick else 10
    rows = []
    for layer in layers[:: 6 if args.quick else 1]:
        say(layer)
        warm, cold = latency(session, layer, chunks)
        rows.append({"layer": layer, "edit_ms": warm, "full_ms": cold, "ratio": warm / cold})
    session.close()
    lines = [[r["layer"], f"{r['edit_ms']:.0f}", f"{r['full_ms']:.0f}", f"{r['ratio']:.2f}"] for r in rows]
    text = f"{chunks * 50} pictures, one thread.\n\n" + table(["layer", "edit ms", "full pass ms", "ratio"], lines)
    finish(
        args, f"Preview latency per layer, {args.case}", {"case": args.case, "samples": chunks * 50, "rows": rows}, text
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
