"""Preset deep-compression without any training: what pruning, sharing and coding each take off, by whole files.

As table 1 to 4 of Deep Compression (Han et al. 2016), but with the size of `model.ecs` as it lies on the disk:
graph, tables, biases and check sums are in every figure. Every ratio is the original float32 weight bytes
(biases included) to the size of the file. The last file is read back and run; the checks are those of `compress`.
Kept: the file's value is within one point of float, and the ratio is what the issue asks for where it asks.
Where a case has no other samples to learn from than the evaluation's (inputs, not labels), "held out" learns from
each half of them and measures, with activations in float, on the other.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

NAMES = (
    "traffic_signs43", "mnist_cnn", "cifar10_smallcnn", "cifar10_resnet20", "ic_resnet8", "kws_dscnn", "vww96",
    "ad_autoencoder",
)  # fmt: skip
RATIOS = {"traffic_signs43": 12.0}
"""Ratio at least."""
DROP = 0.01
"""Loss of the metric at most, on every case."""


def measure(case: dict[str, Any], samples: int | None) -> dict[str, Any]:
    """Bytes of the file and accuracy behind each stage of the preset."""
    from studio.cli.compress import preset
    from studio.core.plan import Plan

    session = open_case(case, samples)
    session.cancel()
    steps = preset("deep-compression").defaults
    plan = replace(preset("deep-compression"), calibration=session.plan.calibration)
    original = sum(4 * layer.parameters for layer in session.graph.weighted)
    row: dict[str, Any] = {"case": case["name"], "float_bytes": original, "stages": []}
    row["float"] = session.engine.measure(Plan()).value
    row["learned_s"] = 0.0
    for i in range(len(steps)):
        wanted = replace(plan, defaults=steps[: i + 1])
        began = time.process_time()
        session.engine.prepare(wanted)
        row["learned_s"] += time.process_time() - began
        size = len(_file(session, wanted))
        value = session.engine.measure(wanted, target="packed").value
        row["stages"].append({"technique": steps[i].technique, "bytes": size, "value": value})
    if case["calibration"] == "same file" and case["metric"] == "top1":
        nearest = steps[1].with_settings(rounding="nearest")  # else it would start from what all samples gave
        row["held_out"] = _held_out(session, replace(plan, defaults=(steps[0], nearest)))
    session.set_plan(plan, "deep-compression")
    session.cancel()
    with tempfile.TemporaryDirectory() as out:
        (found,) = session.export(Path(out) / "export", ("packed",))["exports"]
        row["opened_ms"] = _opening(Path(out) / "export" / "model.ecs")
    session.close()
    return {**row, **_judged(row, found)}


def _held_out(session: Any, plan: Any) -> float:
    """Difference of accuracy from float on samples that nothing was learned from: the mean over both halves."""
    import numpy as np
    import torch

    from studio.engine.learn import learn_rounding

    network, data, encodings = session.engine.network, session.engine.evaluator.dataset, session.engine.encodings(plan)
    order = data.order(0)
    halves = order[: len(order) // 2], order[len(order) // 2 :]

    def right(made: Any, indices: Any) -> int:
        outputs = [made(torch.from_numpy(data.batch([i])))[0].flatten() for i in indices]
        return int(np.sum([int(y.argmax()) == data.labels[i] for y, i in zip(outputs, indices, strict=True)]))

    difference = 0
    with torch.no_grad():
        for own, other in (halves, halves[::-1]):
            learned = learn_rounding(network, encodings, list(encodings), [torch.from_numpy(data.batch(own))])
            difference += right(_with(network, learned), other) - right(network, other)
    return difference / len(order)


def _with(network: Any, learned: dict[str, Any]) -> Any:
    """Network of the learned weights and biases, in float."""
    import torch

    from studio.network.parameters import with_parameters

    nodes = []
    for node in network.nodes:
        if node.name in learned:
            weight, bias = (
                torch.from_numpy(a) for a in (learned[node.name].encoding.decode(), learned[node.name].bias)
            )
            node = replace(node, operator=with_parameters(node.operator, weight, bias))
        nodes.append(node)
    return network.with_nodes(nodes)


def _judged(row: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    ratio, drop = row["float_bytes"] / found["file_bytes"], row["float"] - found["value"]
    kept = ratio >= RATIOS.get(row["case"], 0.0) and drop <= DROP + 1e-9
    return {
        "bytes": found["file_bytes"], "ratio": ratio, "value": found["value"], "samples": found["samples"],
        "agreement": found["agreement"], "passed": found["passed"], "kept": kept and found["passed"],
    }  # fmt: skip


def _file(session: Any, plan: Any) -> bytes:
    from studio.core import registry
    from studio.engine.exporting import describe
    from studio.session.opening import identity

    program = session.engine.program(plan)
    description = describe(session.engine, plan, program, identity(session))
    content: bytes = registry.find("export.targets", "packed").write(program, description, {})
    return content


def _opening(path: Path) -> float:
    """Milliseconds of one processor to read, check and decode a file, and to run it once; the best of three."""
    from studio import runtimes

    times = []
    for _ in range(3):
        began = time.process_time()
        with runtimes.open(path):
            times.append(1e3 * (time.process_time() - began))
    return min(times)


def _limit(case: str) -> str:
    return f" (≥ {RATIOS[case]:g})" if case in RATIOS else ""


def main() -> int:
    """Run all cases; exit 1 where a limit is missed."""
    args = arguments(__doc__ or "").parse_args()
    rows = []
    for case in cases(*(NAMES[:2] if args.quick else NAMES)):
        say(case["name"])
        rows.append(measure(case, 500 if args.quick and case["name"] != "traffic_signs43" else None))
    titles = ["prune", "+ share", "+ Huffman"]
    columns = ["case", "float32 weights", *(f"{t}: bytes (ratio), top-1" for t in titles), "model.ecs", "ratio",
               "float", "file's value", "difference in points", "held out", "learned in CPU s", "opened in CPU ms",
               "within 1 point"]  # fmt: skip
    lines = [
        [r["case"], f"{r['float_bytes']:,}",
         *(f"{s['bytes']:,} ({r['float_bytes'] / s['bytes']:.2f}x), {s['value']:.4f}" for s in r["stages"]),
         f"{r['bytes']:,}", f"{r['ratio']:.2f}x" + _limit(r["case"]),
         f"{r['float']:.4f}", f"{r['value']:.4f}", f"{100 * (r['value'] - r['float']):+.2f}",
         f"{100 * r['held_out']:+.2f}" if "held_out" in r else "",
         f"{r['learned_s']:.1f}", f"{r['opened_ms']:.0f}", "yes" if r["kept"] else "NO"]
        for r in rows
    ]  # fmt: skip
    kept = all(r["kept"] for r in rows)
    note = (
        "The value of ad_autoencoder, which has no labels, is its fidelity to the float network. Held out: learned "
        "from one half of the evaluation samples, difference in points on the other.\n\n"
    )
    finish(args, "Preset deep-compression without training", {"rows": rows, "kept": kept}, note + table(columns, lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
