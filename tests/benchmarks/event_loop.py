"""Gaps in the event loop of the real window while previews run on 5,000 pictures and a slider moves.

A timer of 1 ms asks for the main thread; the longest time that it had to wait is the gap a hand feels.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, finish, say, table
from _window import LIMIT_MS, Bench


def main() -> int:
    """Open the case in the window, move sliders, count."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", default="cifar10_resnet20", help="name in CASES.json")
    parser.add_argument("--trace", action="store_true", help="say where the main thread was when it was late")
    args = parser.parse_args()
    bench = Bench(args.trace)
    from studio.core.plan import Step

    bench.open(args.case, 1000 if args.quick else None)
    gaps, window = bench.gaps, bench.window
    gaps.start("float model, all pictures")
    bench.spin(bench.measured)
    gaps.start("preset int8, all pictures")
    window.use_preset("int8")
    bench.spin(bench.measured)
    for place in ("first", "middle", "last"):
        bench.slide(place, f"slider on the {place} layer")
    weighted = window.session.graph.weighted
    layer = weighted[len(weighted) // 2].name
    window.network.graph.select([layer], layer)
    for technique, axis in (("prune_channels", "amount"), ("low_rank", "keep")):
        say(f"{technique} on {layer}")
        bench.spin(limit=0.5)
        gaps.start(f"{technique} on the middle layer")
        for value in (0.3, 0.4, 0.5):
            window.session.set_step(layer, Step(technique, **{axis: value}), technique)
            bench.spin(limit=0.15)
        bench.spin(bench.measured)
    bench.close()
    rows = [[phase, f"{gap:.0f}"] for phase, gap in gaps.worst.items()]
    worst = max(gaps.worst.values())
    text = table(["while", "longest gap, ms"], rows)
    found = {"case": args.case, "gaps_ms": gaps.worst, "worst_ms": worst, "kept": worst <= LIMIT_MS}
    finish(args, f"Event loop while previews run, {args.case}", found, text)
    return 0 if worst <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
