"""A quick training job for the tests of the process side, and a worker that knows it.

`fake`: some hundred noisy SGD steps on the first layer's weights, with momentum and a generator of its
own, a checkpoint every few steps. Every step depends on all before it.
"""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import Any, ClassVar

from studio.core import registry
from studio.core.errors import DataError
from studio.core.settings import Settings, setting
from studio.core.state import State
from studio.jobs._base import Report, Task


class FakeSettings(Settings):
    steps: int = setting(40, "Steps.", low=1, high=100_000)
    every: int = setting(5, "Steps between two checkpoints.", low=1, high=100_000)
    rest_ms: float = setting(0.0, "Rest after a step.", low=0, high=1000)
    fail_at: int = setting(-1, "Step at which the job fails.", low=-1, high=100_000)
    fault: bool = setting(False, "Fail by a fault of the studio.")
    refuse: bool = setting(False, "Refuse.")
    seed: int = setting(0, "Seed.", low=0, high=10_000)


class Fake:
    """A job."""

    name: ClassVar[str] = "fake"
    title: ClassVar[str] = "Fake"
    help: ClassVar[str] = "Nothing."
    settings: ClassVar[type[Settings]] = FakeSettings
    in_float: ClassVar[bool] = False

    def refuses(self, engine: Any, plan: Any, settings: FakeSettings) -> str | None:
        return "it was told to refuse." if settings.refuse else None

    def inactive(self, settings: FakeSettings) -> dict[str, str]:
        return {}

    def run(self, task: Task) -> State:
        import torch

        from studio.engine.variant import rewrites_key

        s = task.settings
        variant = task.engine.variant(task.plan)
        first = variant.graph.weighted[0].name
        generator = torch.Generator().manual_seed(s.seed)
        weight = torch.from_numpy(variant.encoder.dense[first].values.copy())
        momentum, begin = torch.zeros_like(weight), 0
        known = task.checkpoints.load()
        if known is not None:
            weight, momentum, begin = known["weight"], known["momentum"], known["step"]
            generator.set_state(known["generator"])
        for step in range(begin, s.steps):
            task.stop()
            if step == s.fail_at:
                raise ZeroDivisionError("oops") if s.fault else DataError("loss is NaN.", where="fake", remedy="Lower.")
            momentum = 0.9 * momentum + 0.1 * weight + torch.randn(weight.shape, generator=generator)
            weight = weight - 0.01 * momentum
            time.sleep(s.rest_ms / 1000)
            task.report(Report(step + 1, s.steps, 0, {"loss": float(weight.square().mean())}))
            if (step + 1) % s.every == 0 or task.checkpoints.due():
                task.checkpoints.save(
                    {"weight": weight, "momentum": momentum, "step": step + 1, "generator": generator.get_state()}
                )
        tensors = {f"{n}.weight": d.values for n, d in variant.encoder.dense.items()}
        tensors[f"{first}.weight"] = weight.numpy()
        made_for = {"rewrites": rewrites_key(task.engine.resolve(task.plan))}
        return State(tensors, made_for=made_for, about={"job": "fake"})


def register() -> None:
    """Make the job known to this process, under its name."""
    module = ModuleType("studio.jobs.fake")
    module.JOB = Fake()  # type: ignore[attr-defined]
    sys.modules["studio.jobs.fake"] = module
    known = registry.names

    def names(kind: str) -> tuple[str, ...]:
        return (*known(kind), "fake") if kind == "jobs" else known(kind)

    registry.names = names  # type: ignore[assignment]


if __name__ == "__main__":
    register()
    from studio.jobs import _worker

    sys.exit(_worker.main(sys.argv[1:]))
