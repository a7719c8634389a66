"""Shared values trained after sharing (Deep Compression, Han et al. 2016, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.core.settings import Settings, setting
from studio.jobs._settings import TrainingSettings, inactive

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.engine.engine import Engine
    from studio.jobs._base import Task


class TuneCentroidsSettings(TrainingSettings):
    """What a person can set."""

    optimizer: Literal["sgd", "adam"] = setting(
        "adam", "For biases and layers in float; shared values are always trained by Adam.", title="Optimizer"
    )
    learning_rate: float = setting(
        0.003, "Largest step, relative to the size of the values.", title="Learning rate", low=1e-6, high=1
    )
    rate_schedule: Literal["one_cycle", "cosine", "constant"] = setting(
        "cosine", "Rate that rises for a fifth of the time and then falls, only falls, or stays.",
        title="Rate over time",
    )  # fmt: skip
    reassign: bool = setting(
        False, "Give each weight the nearest shared value again after every epoch; zeros stay zero.",
        title="Assign again",
    )  # fmt: skip
    activations: bool = setting(
        True, "Train with the rounding of int8 tensors in place, where the plan has it.", title="Int8 tensors"
    )


class TuneCentroids:
    """Trains the values that weights share, and the biases; which weight has which value stays, and zeros stay."""

    name: ClassVar[str] = "tune_centroids"
    title: ClassVar[str] = "Tune shared values"
    help: ClassVar[str] = "Train the few values that weights share, at no cost in bytes."
    settings: ClassVar[type[Settings]] = TuneCentroidsSettings
    in_float: ClassVar[bool] = False

    def refuses(self, engine: Engine, plan: Plan, settings: Any) -> str | None:
        """Refuse a plan without shared weights, and data that does not fit."""
        from studio.jobs import _refusals

        return _refusals.common(engine, settings) or _refusals.without_shared(engine, plan)

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """What changes nothing beside Adam."""
        return inactive(settings)

    def run(self, task: Task) -> State:
        """Return codebooks with trained values, and biases."""
        from studio.jobs import _tune_centroids

        return _tune_centroids.run(task)


JOB = TuneCentroids()
