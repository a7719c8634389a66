"""kill -9 at random moments of a real training: always the result of the undisturbed one.

The full count, with processes of their own, is `tests/benchmarks/kills.py`.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from studio.core import paths
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step
from studio.core.state import State
from studio.jobs import _worker
from studio.jobs._folder import JobFolder
from studio.jobs._process import start
from studio.jobs._recipe import Recipe


@pytest.mark.usefixtures("fake")
def test_killed_three_times(tmp_path: Path) -> None:
    demo = paths.resource("demo")
    opened = Opened(str(demo / "parts.onnx"), train=str(demo / "crops_calibration.npz"))
    plan = Plan(defaults=(Step("prune_weights", amount=0.6), Step("quantize", weight_bits=4)))
    jobs = (JobSpec("retrain", {"epochs": 2}), JobSpec("quantization_aware", {"epochs": 1, "seed": 1}))
    wanted = Recipe(opened, plan, jobs, checkpoint_s=0.1)
    folder = JobFolder(tmp_path / "undisturbed")
    folder.prepare(wanted, None)
    began = time.monotonic()
    outcome = _worker.run(folder, wanted)
    assert outcome is not None
    took = time.monotonic() - began
    whole = State.load(folder.state(1))
    assert outcome.state == whole.id

    moments = random.Random(0)
    job = start(wanted)
    for _ in range(3):
        job.wait(moments.uniform(0.1, 0.6) * took)
        job.kill()
        if job.status != "stopped":
            break  # it was quicker
        job.resume()
    assert job.wait(180) is not None
    assert job.state().id == whole.id
