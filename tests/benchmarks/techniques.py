"""Time of the quick form of every technique on the largest layer of each case: what a slider waits for.

"First" is the first step ever on that layer (statistics and decompositions are made), "move" the median
of further slider positions. Both are the whole way from the plan to the layer's exact bytes, as the app goes it:
where a technique has a quick form, "full" is the time until the full one has taken its place, in the background.
Times are those of the processor on the one thread: what else the machine does meanwhile does not count.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

CASES = (
    "mnist_cnn",
    "cifar10_resnet20",
    "ic_resnet8",
    "cifar10_smallcnn",
    "kws_dscnn",
    "vww96",
    "ad_autoencoder",
    "traffic_signs43",
)
ATTACHED_MS = 100.0
MOVES = 5
REASONS = {
    "low_rank": "a large matrix is decomposed, once",
    "equalize": "all pairs of layers of the network are balanced together",
    "quantize": "sixty scales are tried for every channel of a million weights",
    "share_weights": "the weights are sorted and clustered",
}
"""Why a technique may take longer; a slow one without a reason here says so."""


def positions(technique: Any) -> list[dict[str, Any]]:
    """Settings of MOVES slider positions after the first, over the strength axis; one position without an axis."""
    from studio.core.settings import strength_of

    axis = strength_of(technique.settings)
    if axis is None or axis.low is None or axis.high is None:
        return [{}]
    if axis.kind == "choice":
        return [{axis.name: choice} for choice in axis.choices[: MOVES + 1]]
    low, high = axis.low + 0.2 * (axis.high - axis.low), axis.low + 0.8 * (axis.high - axis.low)
    values = [low + (high - low) * i / MOVES for i in range(MOVES + 1)]
    return [{axis.name: round(v) if axis.kind == "int" else round(v, 3)} for v in values]


def measure(session: Any, layer: Any, name: str) -> dict[str, Any] | None:
    """Milliseconds of the first step and of moves, or None where the layer refuses the technique."""
    from studio.core import registry
    from studio.core.errors import StudioError
    from studio.core.plan import Plan, Step
    from studio.core.technique import Stage

    technique = registry.find("techniques", name)
    before = Plan()
    if technique.stage == Stage.CODE:
        before = before.with_step(layer.name, Step("quantize"))
        session.engine.encodings(before)
    shown, full = [], []
    for settings in positions(technique):
        step = Step(name, **settings)
        if technique.stage == Stage.STRUCTURE:
            plan = before.with_group_step(str(layer.group), step)
        else:
            plan = before.with_step(layer.name, step)
        try:
            shown.append(encode(session.engine, plan))
            quick = session.engine.variant(plan).quick
            began = time.thread_time()
            session.engine.variant(plan, full=True)
            full.append(1e3 * (time.thread_time() - began) + encode(session.engine, plan) if quick else None)
        except StudioError:
            return None
    found = {"technique": name, "first_ms": shown[0], "move_ms": statistics.median(shown[1:] or shown)}
    later = [ms for ms in full[1:] if ms is not None]
    return {**found, "full_first_ms": full[0], "full_move_ms": statistics.median(later) if later else None}


def encode(engine: Any, plan: Any) -> float:
    """Milliseconds from a plan to the exact bytes of all layers."""
    began = time.thread_time()
    for encoding in engine.encodings(plan).values():
        encoding.bits()
    return 1e3 * (time.thread_time() - began)


def main() -> int:
    """All cases (two with --quick) x all techniques that encode or rewrite."""
    args = arguments(__doc__ or "").parse_args()
    import torch

    from studio.core import registry
    from studio.core.technique import ENCODES, REWRITES

    torch.set_num_threads(1)
    names = [n for n in registry.names("techniques") if registry.find("techniques", n).stage in (*REWRITES, *ENCODES)]
    rows = []
    for case in cases(*(("ic_resnet8", "kws_dscnn") if args.quick else CASES)):
        session = open_case(case, 100 if case["calibration"] != "same file" else None)
        session.cancel()
        session.engine.quick_first = True
        layer = max(session.graph.weighted, key=lambda one: one.parameters)
        for name in names:
            say(f"{case['name']}: {name}")
            found = measure(session, layer, name)
            if found is not None:
                rows.append({"case": case["name"], "layer": layer.name, "weights": layer.parameters, **found})
        session.close()
    slow = [row for row in rows if row["move_ms"] > ATTACHED_MS]
    lines = [
        [r["case"], f"{r['layer']} ({r['weights']:,})", r["technique"], f"{r['first_ms']:.0f}", f"{r['move_ms']:.0f}",
         ", then ".join(f"{ms:.0f}" for ms in (r["full_first_ms"], r["full_move_ms"]) if ms is not None),
         REASONS.get(r["technique"], "no reason known") if max(r["first_ms"], r["move_ms"]) > ATTACHED_MS else ""]
        for r in rows
    ]  # fmt: skip
    columns = ["case", "largest layer (weights)", "technique", "first, ms", "move, ms", "full, ms", "reason"]
    text = f"One thread, its processor time; a move under {ATTACHED_MS:.0f} ms feels attached; reasons stand beside "
    text += f"what takes longer.\n\n{table(columns, lines)}"
    finish(args, "Quick form of every technique on the largest layer", {"rows": rows, "slow": slow}, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
