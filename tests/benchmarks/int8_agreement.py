"""Int8 with every setting that could help: agreement with the float model beside the best of today's tools.

Values are those of the preview, whose integers the written files hold bit for bit (`quantization_peers.py`
runs the files themselves).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

PEERS = {"cifar10_resnet20": 0.9836, "ic_resnet8": 0.9594, "kws_dscnn": 0.9820, "vww96": 0.9921}
"""Best agreement of other tools at int8, case by case (ONNX Runtime, NNCF)."""
SETTINGS: dict[str, dict[str, Any]] = {
    "preset int8": {},
    "min-max weights": {"calibration": "min_max"},
    "bias correction": {"bias_correction": True},
    "learned rounding": {"rounding": "learned"},
    "equalized": {"equalize": True},
}


def measure(case: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Agreement with float and accuracy on all samples under one choice of settings."""
    from dataclasses import replace

    from studio.core.plan import Plan, Step
    from studio.engine.engine import FLOAT
    from studio.engine.score import agreement

    session = open_case(case)
    session.cancel()
    engine, own = session.engine, dict(settings)
    steps = (Step("equalize"),) if own.pop("equalize", False) else ()
    plan = replace(Plan(defaults=(*steps, Step("quantize", **own))), calibration=session.plan.calibration)
    began = time.process_time()
    engine.prepare(plan)
    seconds = time.process_time() - began
    found, reference = engine.outputs(plan, target="onnx"), engine.outputs(FLOAT)
    value = engine.measure(plan, target="onnx").value
    same = agreement(found, reference, engine.metric)
    session.close()
    return {"case": case["name"], "agreement": same, "value": value, "samples": len(found[0]), "seconds": seconds}


def main() -> int:
    """All four cases (one with --quick); exit 1 where no choice is above the best peer."""
    args = arguments(__doc__ or "").parse_args()
    import torch

    torch.set_num_threads(1)
    rows = []
    for case in cases(*(("kws_dscnn",) if args.quick else PEERS)):
        for title, settings in SETTINGS.items():
            say(f"{case['name']}: {title}")
            rows.append({"settings": title, **measure(case, settings)})
    lines = [
        [r["case"], r["settings"], f"{r['value']:.4f}", f"{r['agreement']:.4f}",
         f"{100 * (r['agreement'] - PEERS[r['case']]):+.2f}", r["samples"], f"{r['seconds']:.0f}"]
        for r in rows
    ]  # fmt: skip
    columns = ["case", "int8 with", "value", "agrees with float", "above best peer, points", "samples", "CPU s"]
    best = {name: max(r["agreement"] for r in rows if r["case"] == name) for name in {r["case"] for r in rows}}
    kept = all(best[name] > PEERS[name] for name in best)
    finish(args, "Int8 with the best settings", {"rows": rows, "kept": kept}, table(columns, lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
