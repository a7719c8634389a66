"""Accuracy before and after training on CIFAR-10: pruned, cut, few bits; beside the float network trained as long.

Every run: one thread, one seed, a tenth of the training data held back; the test file is read for the
figures alone. "before" is the plan without training.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, say, table

CASES = ("ic_resnet8", "cifar10_resnet20")
STEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "float": [],
    "half the MACs": [("prune_channels", {"amount": 0.5})],
    "80 % zeros": [("prune_weights", {"amount": 0.8})],
    "int8": [("quantize", {})],
    "int4": [("quantize", {"weight_bits": 4})],
    "ternary": [("quantize", {"weight_bits": 2})],
    "shared, 2 bits": [("share_weights", {"bits": 2})],
}
JOBS = {"float": "retrain", "half the MACs": "retrain", "80 % zeros": "retrain", "shared, 2 bits": "tune_centroids"}
AUGMENT = {"flip": True, "shift": 2}
RATES = {"retrain": 0.02, "quantization_aware": 0.02, "tune_centroids": 0.003}

EXTRA: dict[str, dict[str, Any]] = {"80 % zeros": {"schedule": "cubic"}}


class Memory:
    """No checkpoints: a benchmark that is stopped starts again."""

    def load(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def save(self, content: Any) -> None:
        del content


def engine_of(case: dict[str, Any], samples: int | None) -> Any:
    """Engine on a case with its training data."""
    from studio import data, formats
    from studio.engine.engine import Engine
    from studio.network.cost import describe
    from studio.network.fold import fold

    network = fold(formats.read(SHARED / case["model"]))
    opened = {
        role: data.open(
            SHARED / case[key], input_shape=network.input_shape, preprocess=case["preprocess"], samples=count
        )
        for role, key, count in (("train", "train", samples), ("evaluation", "data", None))
    }
    return Engine(network, describe(network), opened)


def run(engine: Any, name: str, epochs: int, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Train one plan; its accuracy before and after."""
    from studio.core import registry
    from studio.core.plan import Plan, Step
    from studio.core.settings import validate
    from studio.jobs._base import Task

    plan = Plan()
    for technique, settings in STEPS[name]:
        plan = plan.with_default(Step(technique, **settings))
    found = registry.find("jobs", JOBS.get(name, "quantization_aware"))
    rate = {"learning_rate": RATES[found.name]}
    settings = validate(
        found.settings,
        {"epochs": epochs, "seed": seed, **AUGMENT, **rate, **EXTRA.get(name, {}), **changes},
        found.name,
    )
    before = engine.measure(plan)
    started = time.monotonic()
    task = Task(engine, plan, settings, lambda report: say(f"{name}: {report}"), Memory(), lambda: None)
    state = found.run(task)
    seconds = time.monotonic() - started
    after = engine.measure(replace(plan, state=engine.add_state(state)))
    return {
        "plan": name, "job": found.name, "before": before.value, "after": after.value,
        "validation": state.about["curve"][-1]["validation"], "bytes": after.cost.flash_bytes,
        "macs": after.cost.macs, "seconds": round(seconds), "seed": seed, "epochs": epochs,
    }  # fmt: skip


def main() -> None:
    """Run the cases and plans that are asked for."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--plan", choices=list(STEPS), action="append", help="default: all")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rate", type=float, help="learning rate instead of the benchmark's own")
    args = parser.parse_args()
    rows = []
    for case in cases(*(args.case or CASES)):
        engine = engine_of(case, 6000 if args.quick else None)
        for name in args.plan or STEPS:
            for seed in range(args.seeds):
                changes = {} if args.rate is None else {"learning_rate": args.rate}
                rows.append({"case": case["name"], **run(engine, name, args.epochs, seed, changes)})
                say(str(rows[-1]))
    columns = ["case", "plan", "job", "before", "after", "validation", "bytes", "macs", "epochs", "seed", "seconds"]
    text = table(columns, [[row[column] for column in columns] for row in rows])
    finish(args, "Training: what it recovers", {"rows": rows}, text)


if __name__ == "__main__":
    main()
