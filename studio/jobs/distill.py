"""A compressed network that learns from another one (Hinton et al. 2015; names as in Gou et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.core.settings import Settings, setting
from studio.jobs._settings import BATCH_NORM, DAMPENING, FREEZE, TrainingSettings, inactive

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.engine.engine import Engine
    from studio.jobs._base import Task


class DistillSettings(TrainingSettings):
    """What a person can set."""

    teacher: str = setting(
        "", "File of the network to learn from; empty: the original network. A student of your own: open its file "
        "as the model and give the original here.",
        title="Teacher", file=True,
    )  # fmt: skip
    teacher_preprocess: str = setting(
        "", "JSON file of what the teacher's samples went through (scale, mean, std, channels), where it is not what "
        "the model's do.",
        title="Its preprocessing", file=True,
    )  # fmt: skip
    width: float = setting(
        1.0, "Share of the channels that the student keeps in every group; 1: as the plan has it. A narrower copy "
        "takes the place of the plan's own cuts, and starts from the original network.",
        title="Width", low=0.05, high=1, step=0.01,
    )  # fmt: skip
    start: Literal["important", "fresh"] = setting(
        "important", "Weights to begin with: those of the channels that stay, the most important ones; or fresh ones, "
        "drawn with the seed.",
        title="Begin with",
    )  # fmt: skip
    minimum: int = setting(
        1, "Channels that stay in any case in a narrower copy.", title="At least", low=1, high=1024, step=1
    )
    multiple: Literal[1, 4, 8] = setting(
        1, "Channels that stay in a narrower copy are a multiple of this, as many kernels want them.",
        title="Multiple of",
    )  # fmt: skip
    alpha: float = setting(
        0.7, "Weight of the teacher's class probabilities beside the labels'.",
        title="Response", low=0, high=1, step=0.01,
    )  # fmt: skip
    temperature: float = setting(
        4.0, "Softens the probabilities, so that they also say which wrong classes are near.",
        title="Temperature", low=1, high=20,
    )  # fmt: skip
    hints: float = setting(
        0.0, "Weight of inner tensors being alike, through a 1x1 adapter each (FitNets, Romero 2015).",
        title="Feature hints", low=0, high=1000,
    )  # fmt: skip
    attention: float = setting(
        0.0, "Weight of looking at the same places (attention transfer, Zagoruyko 2017).",
        title="Attention", low=0, high=1000,
    )  # fmt: skip
    relations: float = setting(
        0.0, "Weight of samples lying alike to each other (relational distillation, Park 2019).",
        title="Relations", low=0, high=1000,
    )  # fmt: skip
    compare: bool = setting(
        True, "Train the same once more without the teacher: only that shows whether it helps.",
        title="Compare without teacher",
    )  # fmt: skip
    scale_rate: float = setting(
        0.001, "Largest relative change of a quantized layer's scale in one step.",
        title="Rate of scales", low=0, high=0.1,
    )  # fmt: skip
    freeze: float = FREEZE
    dampening: float = DAMPENING
    batch_norm: bool = BATCH_NORM


class Distill:
    """Trains the plan's network, with its masks, cuts and integers in place, towards a teacher.

    With a width the student is a narrower copy: the plan with that cut of all groups. The same run without
    the teacher, with the same seed and epochs, goes beside it.
    """

    name: ClassVar[str] = "distill"
    title: ClassVar[str] = "Distill"
    help: ClassVar[str] = "Train the compressed network to answer as a teacher does, and compare without one."
    settings: ClassVar[type[Settings]] = DistillSettings
    in_float: ClassVar[bool] = False

    def refuses(self, engine: Engine, plan: Plan, settings: Any) -> str | None:
        """Refuse data that does not fit, a student that cannot be, and a teacher whose answers have another shape."""
        from studio.jobs import _refusals
        from studio.jobs._narrower import narrowed

        own = narrowed(plan, [settings])
        return (
            _refusals.common(engine, settings)
            or _refusals.student(engine, own, settings)
            or _refusals.teacher(engine, own, settings)
        )

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """What is for narrower copies or for weights that stay, and what changes nothing beside Adam."""
        found = inactive(settings)
        if settings.width == 1:
            found |= dict.fromkeys(("minimum", "multiple"), "The student is as wide as the plan says.")
        if settings.start == "fresh":
            found["restore"] = "Fresh weights have no statistics to bring back."
        return found

    def run(self, task: Task) -> State:
        """Return what `retrain` does, or `quantization_aware` where layers of the plan are on grids.

        With a width the state is for the plan as `_narrower.narrowed` makes it.
        """
        from studio.jobs import _distill

        return _distill.run(task)


JOB = Distill()
