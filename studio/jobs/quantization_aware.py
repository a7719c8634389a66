"""Training with the integers in the forward pass: learned step sizes (LSQ, Esser et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from studio.core.settings import Settings, setting
from studio.jobs._settings import BATCH_NORM, DAMPENING, FREEZE, TrainingSettings, inactive

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.engine.engine import Engine
    from studio.jobs._base import Task


class QuantizationAwareSettings(TrainingSettings):
    """What a person can set."""

    scale_rate: float = setting(
        0.001, "Largest relative change of a scale in one step; 0 leaves them as calibrated, but for "
        "batch norm that is folded into them.",
        title="Rate of scales", low=0, high=0.1,
    )  # fmt: skip
    freeze: float = FREEZE
    dampening: float = DAMPENING
    batch_norm: bool = BATCH_NORM


class QuantizationAware:
    """Trains weights, biases and scales with the rounding of the plan's grids and int8 activations in place."""

    name: ClassVar[str] = "quantization_aware"
    title: ClassVar[str] = "Quantization-aware training"
    help: ClassVar[str] = "Train with the rounding in place, so that few bits keep the accuracy."
    settings: ClassVar[type[Settings]] = QuantizationAwareSettings
    in_float: ClassVar[bool] = False

    def refuses(self, engine: Engine, plan: Plan, settings: Any) -> str | None:
        """Refuse a plan without integers, and data that does not fit."""
        from studio.jobs import _refusals

        return _refusals.common(engine, settings) or _refusals.without_grid(engine, plan)

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """What changes nothing beside Adam."""
        return inactive(settings)

    def run(self, task: Task) -> State:
        """Return integers and scales of every layer on a grid, ranges of tensors, biases, float weights."""
        from studio.jobs import _quantization_aware

        return _quantization_aware.run(task)


JOB = QuantizationAware()
