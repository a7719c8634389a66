"""Weights of 4, 3 and 2 bits after training: nearest against learned rounding, from the written files.

Each value is that of `model.onnx` (INT4 weights, uint8 activations) run in ONNX Runtime on all pictures. Rounding
is learned on training pictures where CASES.json has them (vww96: on the evaluation pictures, of which labels are
not used). Beside it, in the same run, ai-edge-quantizer's weight-only int4 and ONNX Runtime's own quantize_static
with int4 weights; their packages are installed into a folder that is removed again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, open_case, say, table

PEERS = ("ai-edge-quantizer==0.10.0", "immutabledict", "absl-py")
LEAST: dict[tuple[str, int], float] = {
    ("ic_resnet8", 4): 0.745, ("vww96", 4): 0.88, ("cifar10_resnet20", 4): 0.805, ("ic_resnet8", 3): 0.70,
}  # fmt: skip
"""Accuracy of the learned file at least."""
SECONDS = 180.0
"""Learning takes at most, on one thread. CPU seconds count: other work may share the cores."""
BITS = {"ic_resnet8": (4, 3, 2), "vww96": (4, 2), "cifar10_resnet20": (4, 2)}
CALIBRATION = 100
"""Samples that ONNX Runtime's own tool calibrates on."""


def measure(case: dict[str, Any], bits: int, rounding: str, samples: int | None) -> dict[str, Any]:
    """One plan, exported: accuracy of the files, their bytes, and what learning took."""
    from studio.core.plan import Plan, Step

    session = open_case(case, samples)
    session.cancel()
    step = Step("quantize", weight_bits=bits, rounding=rounding)
    session.set_plan(Plan(defaults=(step,), calibration=session.plan.calibration), "low bit")
    session.cancel()
    wall, cpu = time.monotonic(), time.process_time()
    session.engine.prepare(session.plan)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    with tempfile.TemporaryDirectory() as out:
        found = session.export(Path(out) / "export", ("onnx", "tflite"))
    session.close()
    files = {row["format"]: row for row in found["exports"]}
    least = LEAST.get((case["name"], bits)) if rounding == "learned" else None
    onnx = files["onnx"]
    return {
        "case": case["name"], "bits": bits, "rounding": rounding, "float": found["before"]["value"],
        "value": onnx["value"], "least": least, "bytes": onnx["file_bytes"], "tflite": files["tflite"]["value"],
        "tflite_bytes": files["tflite"]["file_bytes"], "flash_bytes": found["previewed"]["flash_bytes"],
        "agreement": onnx["agreement"], "passed": onnx["passed"] and files["tflite"]["passed"],
        "seconds": wall, "cpu_seconds": cpu,
        "kept": (least is None or samples is not None or onnx["value"] >= least - 1e-9) and cpu <= SECONDS,
    }  # fmt: skip


def peers(case: dict[str, Any], folder: Path, samples: int | None) -> list[dict[str, Any]]:
    """Files of the other tools, each measured in its runtime; where one cannot be made, its last words."""
    import numpy as np

    from studio.engine.evaluate import evaluate_file

    session = open_case(case, samples)
    session.cancel()
    dataset, _ = session.engine.calibration(session.plan.calibration)
    np.save(folder / "samples.npy", dataset.batch(dataset.order(0)[:CALIBRATION]))
    preprocess = session.engine.evaluator.dataset.preprocess.to_json()
    session.close()
    tflite = next(name for name in [*case.get("also", []), ""] if name.endswith(".tflite") or not name)
    commands = {
        "ONNX Runtime int4": ["onnxruntime", str(SHARED / case["model"]), str(folder / "samples.npy")],
        "ai-edge-quantizer int4": ["quantizer", str(SHARED / tflite)] if tflite else [],
    }
    rows = []
    for name, command in commands.items():
        if not command:
            continue
        out = folder / ("model" + Path(command[1]).suffix)
        failed = run_peer(folder, [*command, str(out)])
        row = {"case": case["name"], "peer": name, "value": None, "bytes": None, "failed": failed}
        if not failed:
            own = preprocess if out.suffix == ".onnx" else {k: v for k, v in preprocess.items() if k != "layout"}
            label = "person_vww" if "labels" in case else None
            found = evaluate_file(out, SHARED / case["data"], preprocess=own, label=label, samples=samples)
            row |= {"value": found["value"], "bytes": found["file_bytes"]}
        rows.append(row)
    return rows


def run_peer(folder: Path, command: list[str]) -> str:
    """Run `_low_bit_peers.py`; returns the last line of what went wrong, empty where nothing did."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "packages")}
    script = Path(__file__).with_name("_low_bit_peers.py")
    done = subprocess.run([sys.executable, str(script), *command], capture_output=True, text=True, env=environment)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1][:200]


def install(folder: Path) -> None:
    """Put the peers' packages into a folder of their own; without a network their rows say what is missing."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "packages"), *PEERS]
    subprocess.run(command, capture_output=True, check=False)


def main() -> int:
    """Run all cases; exit 1 where a limit is missed."""
    args = arguments(__doc__ or "").parse_args()
    names = ["ic_resnet8"] if args.quick else list(BITS)
    samples = 500 if args.quick else None
    rows, others = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["STUDIO_HOME"] = str(folder / "home")  # nothing learned before counts
        install(folder)
        for case in cases(*names):
            for bits in BITS[case["name"]][: 1 if args.quick else None]:
                for rounding in ("nearest", "learned"):
                    say(f"{case['name']}: {bits} bits, {rounding}")
                    rows.append(measure(case, bits, rounding, samples))
                    say(f"  {rows[-1]['value']:.4f}, {rows[-1]['cpu_seconds']:.0f} CPU seconds")
            say(f"{case['name']}: other tools")
            others += peers(case, folder, samples)
    kept = all(row["kept"] and row["passed"] for row in rows)
    finish(args, "Few-bit weights after training", {"rows": rows, "peers": others, "kept": kept}, text(rows, others))
    return 0 if kept else 1


def text(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Both tables."""
    lines = [
        [r["case"], r["bits"], r["rounding"], f"{r['float']:.4f}",
         f"{r['value']:.4f}" + (f" (≥ {r['least']})" if r["least"] else ""), f"{r['bytes']:,}", f"{r['tflite']:.4f}",
         f"{r['tflite_bytes']:,}", f"{r['flash_bytes']:,}",
         f"{r['cpu_seconds']:.0f} ({r['seconds']:.0f})" if r["rounding"] == "learned" else "",
         "yes" if r["kept"] and r["passed"] else "NO"]
        for r in rows
    ]  # fmt: skip
    columns = [
        "case", "bits", "rounding", "float", "model.onnx in ONNX Runtime", "bytes", "model.tflite in LiteRT", "bytes",
        "packed weights", "CPU seconds of learning (wall)", "kept",
    ]  # fmt: skip
    peers = [
        [o["case"], o["peer"], "" if o["value"] is None else f"{o['value']:.4f}",
         "" if o["bytes"] is None else f"{o['bytes']:,}", o["failed"]]
        for o in others
    ]  # fmt: skip
    return table(columns, lines) + "\n" + table(["case", "other tool", "value", "bytes", "failed"], peers)


if __name__ == "__main__":
    sys.exit(main())
