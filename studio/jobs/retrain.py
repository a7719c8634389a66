"""Training with the compression's masks and cuts in place (Han et al. 2015; Zhu and Gupta 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.core.settings import Settings, setting
from studio.jobs._settings import BATCH_NORM, TrainingSettings, inactive

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.engine.engine import Engine
    from studio.jobs._base import Task


class RetrainSettings(TrainingSettings):
    """What a person can set."""

    schedule: Literal["one_shot", "cubic"] = setting(
        "one_shot", "Prune all at once and train, or prune more and more while training.", title="Pruning"
    )
    start: float = setting(
        0.3, "Part of each amount that is pruned at the first step of the cubic schedule.",
        title="Pruned at the start", low=0, high=1, step=0.01,
    )  # fmt: skip
    ramp: float = setting(
        0.6, "Share of the training after which the cubic schedule has pruned all; the rest recovers.",
        title="Pruned by", low=0.05, high=0.95, step=0.01,
    )  # fmt: skip
    rounds: int = setting(
        1, "Rounds in which channels leave, more at first, with training between; epochs are shared out over them.",
        title="Channels leave in", low=1, high=50, step=1, unit="rounds",
    )  # fmt: skip
    batch_norm: bool = BATCH_NORM


class Retrain:
    """Trains the float network of a plan; pruned weights stay zero, cut channels stay away."""

    name: ClassVar[str] = "retrain"
    title: ClassVar[str] = "Retrain"
    help: ClassVar[str] = "Train the pruned or cut network on, so that it recovers what compression took."
    settings: ClassVar[type[Settings]] = RetrainSettings
    in_float: ClassVar[bool] = True

    def refuses(self, engine: Engine, plan: Plan, settings: Any) -> str | None:
        """Refuse data that does not fit, samples that cannot be augmented so, and rounds that cannot be."""
        from studio.jobs import _refusals

        return _refusals.common(engine, settings) or _refusals.rounds(engine, plan, settings)

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """What changes nothing where all is pruned at once, and beside Adam."""
        found = inactive(settings)
        if settings.schedule == "one_shot":
            found |= dict.fromkeys(("start", "ramp"), "All is pruned before the first step.")
        return found

    def run(self, task: Task) -> State:
        """Return trained weights and biases, the masks that held and the channels that stayed."""
        from studio.jobs import _retrain

        return _retrain.run(task)


JOB = Retrain()
