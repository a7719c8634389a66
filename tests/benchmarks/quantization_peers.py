"""Preset int8 on six real models, from the written files in their runtimes, beside today's other tools.

The peers' figures (ONNX Runtime 1.32 quantize_static, NNCF 3.4, reference .tflite files) were measured
on the same data; they are the limits that this script checks.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

LIMITS: dict[str, dict[str, float]] = {
    "cifar10_resnet20": {"onnx": 329_238, "agreement_float": 0.9836},
    "ic_resnet8": {"onnx": 114_929, "tflite": 98_496, "agreement_float": 0.9594},
    "kws_dscnn": {"onnx": 33_752, "agreement_float": 0.9820},
    "vww96": {"onnx": 291_218, "tflite": 303_440, "agreement_float": 0.9921},
    "mnist_cnn": {"onnx": 19_659},
    "traffic_signs43": {"onnx": 1_198_171},
}
"""Bytes at most and agreement with float at least: the best of today's other tools, case by case."""


def measure(case: dict[str, Any], samples: int | None) -> list[dict[str, Any]]:
    """Rows of one case: one a format."""
    from studio.cli.compress import preset

    session = open_case(case, samples)
    session.cancel()
    preset_plan = preset("int8")
    plan = session.plan
    from dataclasses import replace

    session.set_plan(replace(preset_plan, calibration=plan.calibration), "int8")
    session.cancel()
    with tempfile.TemporaryDirectory() as out:
        found = session.export(Path(out) / "export", ("onnx", "tflite"))
    session.close()
    return [row_of(case["name"], found, row, samples is None) for row in found["exports"]]


def row_of(name: str, found: dict[str, Any], row: dict[str, Any], full: bool) -> dict[str, Any]:
    """Figures of one file, and whether each stays within its limit."""
    limits = LIMITS[name]
    before, previewed = found["before"]["value"], found["previewed"]["per_format"][row["format"]]["value"]
    room = 0.005 + (1 / row["samples"] if name in ("kws_dscnn", "vww96", "traffic_signs43") else 0) + 1e-9
    checks = {
        "accuracy": row["value"] >= before - room,
        "bytes": row["file_bytes"] <= limits.get(row["format"], float("inf")),
        "preview": abs(row["value"] - previewed) <= 0.002 + 1e-9 and row["agreement"] >= 0.995,
        "agreement_float": not full or row["agreement_float"] >= limits.get("agreement_float", 0),
        "passed": row["passed"],
    }
    return {
        "case": name, "format": row["format"], "float": before, "value": row["value"], "samples": row["samples"],
        "agreement": row["agreement"], "agreement_float": row["agreement_float"], "bytes": row["file_bytes"],
        "limit": limits.get(row["format"]), "limit_agreement": limits.get("agreement_float"), "checks": checks,
        "latency_ms": row["latency_ms"]["median"], "notes": row["notes"],
    }  # fmt: skip


def main() -> int:
    """Run all cases; exit 1 where a limit is missed."""
    args = arguments(__doc__ or "").parse_args()
    names = ["ic_resnet8", "kws_dscnn"] if args.quick else list(LIMITS)
    rows = []
    for case in cases(*names):
        say(case["name"])
        rows += measure(case, 500 if args.quick and case["name"] == "ic_resnet8" else None)
    lines = [
        [r["case"], r["format"], f"{r['float']:.4f}", f"{r['value']:.4f}", f"{r['agreement']:.4f}",
         f"{r['agreement_float']:.4f}" + (f" (≥ {r['limit_agreement']})" if r["limit_agreement"] else ""),
         f"{r['bytes']:,}" + (f" (≤ {int(r['limit']):,})" if r["limit"] else ""), f"{r['latency_ms']:.3f}",
         "yes" if all(r["checks"].values()) else "NO: " + ", ".join(k for k, ok in r["checks"].items() if not ok)]
        for r in rows
    ]  # fmt: skip
    columns = [
        "case",
        "file",
        "float",
        "file's value",
        "agrees with preview",
        "agrees with float",
        "bytes",
        "ms",
        "kept",
    ]
    kept = all(all(r["checks"].values()) for r in rows)
    finish(args, "Preset int8 on real models", {"rows": rows, "kept": kept}, table(columns, lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
