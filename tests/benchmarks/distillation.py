"""A half-width ic_resnet8 that learns from its full-width original, against the same run without: CIFAR-10.

The teacher is the float network trained on first; the student keeps the most important half of its
channels. Same seeds, epochs and pictures with and without; every run is kept in `--out` and not run
again. A tenth of the training data is held back ("validation"); the test file is read for the figures
alone. Intervals: mean of the differences over the seeds +- Student's t times its standard error.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, Memory, arguments, cases, finish, network_of, say, table, training_engine

WIDTH = 0.5
AUGMENT = {"flip": True, "shift": 2}
RATE = {"learning_rate": 0.02, "bfloat16": True}
TEACHER_EPOCHS = 15
WITHOUT = "without"
LOSSES: dict[str, dict[str, float]] = {
    "response": {"alpha": 0.9, "temperature": 4.0},
    "hints": {"alpha": 0.0, "hints": 20.0},
    "attention": {"alpha": 0.0, "attention": 10.0},
    "relations": {"alpha": 0.0, "relations": 10.0},
}
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t, two sides, 95 %, by number of seeds."""


def train(engine: Any, job: str, plan: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job; its state, test accuracy, validation by epoch, and minutes."""
    from studio.core import registry
    from studio.core.settings import validate
    from studio.jobs._base import Report, Task

    found = registry.find("jobs", job)
    values = validate(found.settings, {**AUGMENT, **RATE, **settings}, job)
    started = time.monotonic()

    def report(told: Report) -> None:
        if "validation" in told.values:
            say(f"  epoch {told.epoch}: {dict(told.values)}")

    state = found.run(Task(engine, plan, values, report, Memory(), lambda: None))
    minutes = (time.monotonic() - started) / 60
    plan = replace(plan, state=engine.add_state(state))
    test = engine.measure(plan).value
    curve = [entry["validation"] for entry in state.about["curve"]]
    return {"plan": plan, "test": test, "curve": curve, "minutes": round(minutes, 2)}


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and kept there where it is missing."""
    from studio.core import paths

    if not path.exists():
        say(f"{path.stem} ...")
        paths.write_text(path, json.dumps(make()))
    found: dict[str, Any] = json.loads(path.read_text())
    say(f"{path.stem}: test {found['test']:.4f}, validation {found['curve'][-1]:.4f}, {found['minutes']:.1f} min")
    return found


def teach(case: dict[str, Any], out: Path, epochs: int, samples: int | None) -> dict[str, Any]:
    """Train the float network on and write it to `out`."""
    from studio.core.plan import Plan
    from studio.engine.exporting import export_plan

    engine = training_engine(network_of(SHARED / case["model"]), case, samples)
    before = engine.measure(Plan()).value
    made = train(engine, "retrain", Plan(), {"epochs": epochs})
    export_plan(engine, made.pop("plan"), out / "teacher", ["onnx-float"], {"name": "teacher"})
    return {**made, "before": before}


def learn(engine: Any, loss: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train one student; `retrain` on its plan is what `distill` runs beside itself without the teacher."""
    from studio.core.plan import Plan
    from studio.core.settings import validate
    from studio.jobs._narrower import narrowed
    from studio.jobs.distill import DistillSettings

    plan = narrowed(Plan(), [validate(DistillSettings, {"width": WIDTH}, "distill")])
    job, own = ("retrain", {}) if loss == WITHOUT else ("distill", {"width": WIDTH, "compare": False, **LOSSES[loss]})
    made = train(engine, job, plan, {**settings, **own})
    cost = engine.cost(made.pop("plan"))
    return {**made, "macs": cost.macs, "loss": loss, **settings}


def named(loss: str) -> str:
    """Name of a loss with its weights: other weights are another run."""
    return "-".join([loss, *(f"{value:g}" for value in LOSSES.get(loss, {}).values())])


def summary(loss: str, without: list[dict[str, Any]], taught: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and the difference in points with its interval."""
    pairs = [100 * (b["test"] - a["test"]) for a, b in zip(without, taught, strict=True)]
    half = T95[len(pairs)] * statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.inf
    return {
        "loss": loss, "settings": LOSSES[loss], "seeds": len(pairs), "differences": pairs,
        "without": statistics.mean(run["test"] for run in without),
        "with": statistics.mean(run["test"] for run in taught),
        "difference": statistics.mean(pairs), "half_interval": half,
        "minutes": statistics.mean(run["minutes"] for run in taught),
    }  # fmt: skip


def show(rows: list[dict[str, Any]], teacher: dict[str, Any], example: dict[str, Any]) -> str:
    """Text for RESULTS.md."""
    lines = [
        [
            row["loss"], ", ".join(f"{name} {value:g}" for name, value in row["settings"].items()), row["seeds"],
            f"{row['without']:.4f}", f"{row['with']:.4f}", f"{row['difference']:+.2f} ± {row['half_interval']:.2f}",
            " ".join(f"{d:+.2f}" for d in row["differences"]), f"{row['minutes']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    columns = ["loss", "weights", "seeds", "without", "with", "points (95 %)", "by seed", "minutes a run"]
    text = f"Teacher: ic_resnet8 trained on for {len(teacher['curve']) - 1} epochs, test {teacher['before']:.4f} -> "
    text += f"{teacher['test']:.4f}. "
    text += f"Student: width {WIDTH:g}, {example['macs']:,} MACs, {len(example['curve']) - 1} epochs.\n\n"
    return text + table(columns, lines)


def main() -> None:
    """Train the teacher, then every student that is not yet in `--out`."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "edge-studio-distillation")
    parser.add_argument("--loss", choices=list(LOSSES), action="append", help="default: all")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    samples, epochs = (3000, 2) if args.quick else (None, args.epochs)
    (case,) = cases("ic_resnet8")
    mark = f"{epochs}{'-quick' if args.quick else ''}"
    args.out.mkdir(parents=True, exist_ok=True)
    first = min(epochs, TEACHER_EPOCHS) if args.quick else TEACHER_EPOCHS
    teacher = once(args.out / f"teacher-{first}.json", lambda: teach(case, args.out, first, samples))
    engine = training_engine(network_of(args.out / "teacher" / "model-float.onnx"), case, samples)

    def runs(loss: str) -> list[dict[str, Any]]:
        return [
            once(args.out / f"{named(loss)}-{mark}-{seed}.json",
                 lambda seed=seed: learn(engine, loss, {"epochs": epochs, "seed": seed}))
            for seed in range(1 if args.quick else args.seeds)
        ]  # fmt: skip

    without = runs(WITHOUT)
    rows = [summary(loss, without, runs(loss)) for loss in args.loss or LOSSES]
    found = {"teacher": teacher, "student": without[0], "rows": rows}
    finish(args, "Distillation: a half-width student", found, show(rows, teacher, without[0]))


if __name__ == "__main__":
    main()
