"""A step of training without and with batch norm, and with products in bfloat16, taken in turn on one thread.

The whole step of the job: batch, forward and backward pass, optimizer. What bfloat16 is worth depends on the
processor: it must multiply that itself.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, Memory, arguments, cases, finish, network_of, say, table, training_engine

CASES = ("ic_resnet8", "cifar10_resnet20", "mnist_cnn")
PLANS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "retrain": (None, {}),
    "quantization_aware": ({}, {}),
    "distill": (None, {"compare": False}),
}
"""Settings of quantize, None for a plan without it, and of the job."""
KINDS: dict[str, dict[str, Any]] = {
    "without": {"batch_norm": False},
    "batch norm": {},
    "batch norm, bfloat16": {"bfloat16": True},
}
ROUNDS = 30
SAMPLES = 1000


def stepper(engine: Any, job: str, more: dict[str, Any]) -> Callable[[], None]:
    """One step of a job at every call."""
    from studio.core import registry
    from studio.core.plan import Plan, Step
    from studio.core.settings import validate
    from studio.jobs import _distill, _quantization_aware, _retrain
    from studio.jobs._base import Task
    from studio.jobs._loop import Place, _Run
    from studio.jobs._resume import Keeper
    from studio.jobs._samples import split
    from studio.jobs._student import Student

    quantize, settings = PLANS[job]
    plan = Plan() if quantize is None else Plan().with_default(Step("quantize", **quantize))
    values = validate(registry.find("jobs", job).settings, {**settings, **more, "epochs": 1000}, job)
    task = Task(engine, plan, values, lambda report: None, Memory(), lambda: None)
    samples = split(engine, values)
    goal = _retrain.goal_of(engine, samples)
    student = Student(engine, plan, quantized=quantize is not None, half=values.bfloat16)
    if job == "distill":
        lesson = _distill._lesson(task, student, goal, samples, taught=True)
    else:
        make = _quantization_aware.quantized_lesson if quantize is not None else _retrain._lesson
        lesson = make(task, student, goal, samples)
    return _Run(task, lesson, samples, Keeper(task), Place())._step


def medians(steps: list[Callable[[], None]], rounds: int) -> list[float]:
    """Median ms of each, taken in turn after two rounds that do not count."""
    times: list[list[float]] = [[] for _ in steps]
    for i in range(rounds + 2):
        for own, step in zip(times, steps, strict=True):
            began = time.perf_counter()
            step()
            if i >= 2:
                own.append(time.perf_counter() - began)
    return [1e3 * statistics.median(own) for own in times]


def main() -> int:
    """Measure each job on each case."""
    parser = arguments(__doc__ or "")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows = []
    for case in cases(*(CASES[:1] if args.quick else CASES)):
        engine = training_engine(network_of(SHARED / case["model"]), case, SAMPLES)
        for job in PLANS:
            found = medians([stepper(engine, job, one) for one in KINDS.values()], 5 if args.quick else ROUNDS)
            rows.append({"case": case["name"], "job": job, "ms": dict(zip(KINDS, found, strict=True))})
            say(str(rows[-1]))
    lines = []
    for row in rows:
        plain, normed, half = row["ms"].values()
        times = [f"{ms:.1f}" for ms in (plain, normed, half)]
        lines.append([row["case"], row["job"], *times, f"{normed / plain:.2f}", f"{normed / half:.2f}"])
    text = "A step of 64 samples. Integers take 32 bits, without batch norm, in the last fifth of a training.\n\n"
    columns = ["case", "job", *(f"{kind}, ms" for kind in KINDS), "batch norm takes", "bfloat16 times as fast"]
    finish(args, "Training steps", {"rows": rows}, text + table(columns, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
