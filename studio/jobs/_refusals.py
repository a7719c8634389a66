"""Why a job cannot start, as a sentence before it does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.core import registry
from studio.core.encoding import Codebook, innermost
from studio.core.errors import Refused, StudioError
from studio.core.plan import Plan
from studio.core.technique import Stage
from studio.engine.engine import Engine
from studio.jobs import _augment
from studio.jobs._goal import ends_of, forward_of
from studio.jobs._samples import split
from studio.jobs._settings import TrainingSettings
from studio.jobs._teacher_input import inputs_for
from studio.jobs._trainable import Change
from studio.network.network import Network

LEAST = 0.7
"""What a teacher has to get right, as a share of what the original network does."""


def check(name: str, engine: Engine, plan: Plan, settings: Any) -> None:
    """Raise Refused where job `name` says that it cannot run; its sentence says what to do as well."""
    reason = registry.find("jobs", name).refuses(engine, plan, settings)
    if reason is not None:
        raise Refused(reason, where=name)


def common(engine: Engine, settings: TrainingSettings) -> str | None:
    """Reason that holds for every job: several inputs, data that does not fit, augmentation of another kind."""
    if len(engine.network.inputs) > 1:
        count = len(engine.network.inputs)
        return f"Training needs a network with one input, and this one has {count}: export it without training."
    try:
        split(engine, settings)
    except StudioError as error:
        return str(error)
    shape = engine.network.input_shape
    if not _augment.channels_first(shape, engine.sources["train"].preprocess.layout):
        shape = (shape[0], shape[-1], *shape[1:-1])
    return _augment.refuses(settings, shape)


def without_grid(engine: Engine, plan: Plan) -> str | None:
    """Reason where no layer of a plan is on a grid: there would be nothing to round."""
    if engine.needs_ranges(plan):
        return None
    return "No layer of the plan is quantized or shared, so there is no rounding to train with: add a step, or retrain."


def without_shared(engine: Engine, plan: Plan) -> str | None:
    """Reason where no layer's weights share values."""
    if any(isinstance(innermost(one), Codebook) for one in engine.encodings(plan).values()):
        return None
    return "No layer of the plan shares values: there is nothing to tune. Add share_weights first."


def student(engine: Engine, plan: Plan, settings: Any) -> str | None:
    """Reason why a student cannot begin as the settings say: weights drawn anew under zeros or grids of others."""
    if settings.start != "fresh":
        return None
    for name, work in engine.work(plan).items():
        chosen = next((step for step in work.steps if step.stage in (Stage.SPARSE, Stage.GRID)), None)
        if chosen is not None:
            return (
                f"Fresh weights would not fit {name}, where {chosen.technique} has decided by the old ones: take the "
                "step away until the student is trained, or begin with important channels."
            )
    return None


def teacher(engine: Engine, plan: Plan, settings: Any) -> str | None:
    """Reason why a teacher cannot teach: it cannot be read, answers in another shape, knows little, has no tensor to
    compare.
    """  # noqa: D205
    from studio.jobs import _teacher

    try:
        found = _teacher.load(engine, settings.teacher)
        inputs = inputs_for(engine, settings.teacher_preprocess)
    except StudioError as error:
        return str(error)
    if (settings.hints or settings.attention) and not _teacher.inner_pairs(engine.variant(plan).network, found):
        return "The teacher has no inner tensor of the size of one here: use response or relations."
    return _ignorant(engine, settings, found, inputs) if settings.teacher or settings.teacher_preprocess else None


def _ignorant(engine: Engine, settings: TrainingSettings, teacher: Network, inputs: Change) -> str | None:
    """Reason where a teacher is wrong about samples that the original network is right about."""
    samples = split(engine, settings)
    if samples.labels is None:
        return None
    asked = samples.held[: samples.few]
    x, labels = torch.from_numpy(samples.dataset.batch(asked)), samples.labels[asked]
    original, its = _right(engine.network, x, labels), _right(teacher, inputs(x), labels)
    if its >= LEAST * original:
        return None
    return (
        f"The teacher gets {100 * its:.0f} % of {len(asked)} training samples right, the original network "
        f"{100 * original:.0f} %: it may want other preprocessing (teacher_preprocess, in the app: Its "
        "preprocessing), or have its classes in another order."
    )


def _right(network: Network, x: Tensor, labels: Tensor) -> float:
    ends = ends_of(network, classifier=True)
    with torch.no_grad():
        scores = ends.of(forward_of(network)(x, ends.keep))[0]
    return float((scores.argmax(1) == labels).float().mean())


def rounds(engine: Engine, plan: Plan, settings: Any) -> str | None:
    """Reason why channels cannot leave in rounds."""
    if settings.rounds == 1:
        return None
    if settings.rounds > settings.epochs:
        return f"{settings.rounds} rounds need an epoch each, and there are {settings.epochs}: raise epochs."
    rewrites = engine.resolve(plan).rewrites
    if Stage.STRUCTURE not in rewrites:
        return "The plan cuts no channels, so none can leave in rounds: add prune_channels, or train with 1 round."
    if len(rewrites) > 1:
        return "Channels leave in rounds only where nothing else rewrites the network: train with 1 round."
    return None
