"""kill -9 at random moments of a job, and of the app that started it: the result is that of the undisturbed job.

`kills.py [--count 20] [--quick] [--json] [--write]`. Workers and apps are processes of their own. Each
round kills, goes on, and compares the id of the state (a hash over all trained tensors). A moment at
which the job had ended already is no kill: it is drawn again. Lost work is what was told before the
kill and had to be done again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common

from studio.core import paths
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step
from studio.jobs._process import JobProcess, find_unfinished, start
from studio.jobs._recipe import CHECKPOINT_S, Recipe

CHECKPOINT = 0.5
"""Seconds between checkpoints here, so that a job of some seconds has many."""
STEPS = (Step("prune_weights", amount=0.6), Step("quantize", weight_bits=4))
SPECS = (JobSpec("retrain", {"epochs": 6}), JobSpec("quantization_aware", {"epochs": 3, "seed": 1}))


def recipe(data: str | None = None) -> Recipe:
    """Retrain, then quantization-aware training, on the bundled demo."""
    demo = paths.resource("demo")
    opened = Opened(str(demo / "parts.onnx"), data, train=str(demo / "crops_calibration.npz"))
    return Recipe(opened, Plan(defaults=STEPS), SPECS, checkpoint_s=CHECKPOINT)


def undisturbed() -> tuple[str, float]:
    """Id of the state, and the seconds from the start of the process to its end."""
    began = time.monotonic()
    job = start(recipe())
    job.wait()
    found = job.state().id
    job.discard()
    return found, time.monotonic() - began


def worker_round(moment: float) -> dict[str, Any]:
    """Kill a job `moment` seconds after its start and go on."""
    job = start(recipe())
    job.wait(moment)
    job.kill()
    return _go_on(job, moment, "running" if job.status == "stopped" else job.status)


def app_round(moment: float, *, both: bool = False) -> dict[str, Any]:
    """Kill an app `moment` seconds after its start, whatever it was doing; the next one goes on."""
    app = subprocess.Popen([sys.executable, __file__, "--app"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    app.send_signal(signal.SIGKILL)
    app.wait()
    left = find_unfinished()
    job = left[0] if left else start(recipe())
    status = job.status if left else "not begun"
    if both:
        job.kill()
    return _go_on(job, moment, status)


def both_round(moment: float) -> dict[str, Any]:
    """Kill the app and its job, as when the power fails."""
    return app_round(moment, both=True)


def _go_on(job: JobProcess, moment: float, status: str) -> dict[str, Any]:
    """Bring a job to its end; `status`: what the kill has met."""
    killed = len(job.reports())
    if job.status == "stopped":
        job.resume()
    job.wait()
    found = {"killed_after_s": moment, "met": status, "id": job.state().id, "lost_s": _lost(job, killed)}
    job.discard()
    return found


def app() -> None:
    """An app that opens the model and trains it, until it is killed."""
    from studio.session import open_session

    wanted = recipe()
    session = open_session(wanted.opened.model, train=wanted.opened.train, plan=wanted.plan)
    job = session.start_job(*wanted.jobs)
    while True:
        job.wait(1.0)
        session.jobs.unfinished()


def _lost(job: JobProcess, killed: int) -> float:
    """Seconds between the last report before the kill and the earlier one from which the job went on."""
    told = job.folder.told()[0]
    before, after = told[:killed], told[killed:]
    if not before or not after:
        return 0.0
    again = (after[0].job, after[0].report.step)
    reached = [one.at for one in before if (one.job, one.report.step) >= again]
    return max(reached) - min(reached) if reached else 0.0


def rounds(kind: Any, count: int, span: float, seed: int) -> list[dict[str, Any]]:
    """Run rounds at seeded random moments of a span of seconds."""
    moments = random.Random(seed)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        one = kind(moments.uniform(0.0, span))
        if one["met"] == "done":
            span = min(span, one["killed_after_s"])  # nothing was left to kill
        else:
            found.append(one)
        common.say(f"{kind.__name__} {len(found)} of {count}: {one}")
    return found


def main() -> None:
    """Measure and print."""
    parser = common.arguments(__doc__ or "")
    parser.add_argument("--count", type=int, default=20, help="kills of each kind")
    parser.add_argument("--app", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.app:
        app()
    count = 3 if args.quick else args.count
    with tempfile.TemporaryDirectory() as home:
        os.environ["STUDIO_HOME"] = str(Path(home))
        wanted, seconds = undisturbed()
        kinds = {"job": worker_round, "app": app_round, "app and job": both_round}
        found = {kind: rounds(how, count, seconds, seed) for seed, (kind, how) in enumerate(kinds.items())}
    rows = []
    for kind, some in found.items():
        lost = [one["lost_s"] for one in some]
        same = sum(one["id"] == wanted for one in some)
        running = sum(one["met"] == "running" for one in some)
        rows.append([kind, count, running, same, f"{statistics.median(lost):.1f}", f"{max(lost):.1f}"])
    answer = {"job_s": seconds, "count": count, "checkpoint_s": CHECKPOINT, "state": wanted, "rounds": found}
    text = common.table(
        ["kill -9 of", "times", "job was running", "same weights, bit for bit", "lost (median, s)", "lost (max, s)"],
        rows,
    )
    text += (
        f"\nRetrain, then quantization-aware training on the bundled demo, {seconds:.0f} s from start to end, "
        f"killed at random moments of that time. Here a checkpoint every {CHECKPOINT:g} s, by default every "
        f"{CHECKPOINT_S:g} s. A job goes on when its app is killed.\n"
    )
    common.finish(args, "Kills", answer, text)
    sys.exit(0 if all(row[3] == count for row in rows) else 1)


if __name__ == "__main__":
    main()
