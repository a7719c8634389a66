"""Masks of pruned layers while they train: held as they are, or tightened after the cubic schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.core import registry
from studio.core.encoding import Dense, Encoding, Sparse
from studio.core.settings import strength_of
from studio.core.state import steps_key
from studio.core.step import Step
from studio.core.technique import EncodeContext, Stage
from studio.engine.resolve import LayerWork
from studio.engine.variant import Variant
from studio.jobs._trainable import Trainable

UPDATES = 100
"""Times that the masks tighten on their way."""


def until(work: LayerWork, stage: Stage) -> LayerWork:
    """Work of a layer up to and with a stage."""
    n = sum(step.stage <= stage for step in work.steps)
    return LayerWork(work.layer, work.steps[:n], work.peers[:n], work.keys[:n])


def mask_of(encoding: Encoding) -> np.ndarray:
    """Bool of the weight's shape, True = kept, of what a SPARSE step gave (also where it came out as plain values)."""
    return encoding.mask if isinstance(encoding, Sparse) else encoding.decode() != 0


class Masks:
    """Masks by layer, float32 of the weight's shape, 1 = kept; those of the plan from the beginning."""

    def __init__(self, variant: Variant, work: Mapping[str, LayerWork]) -> None:
        pruned = {name: until(one, Stage.SPARSE) for name, one in work.items()}
        self._work = {name: one for name, one in pruned.items() if one.steps and one.steps[-1].stage == Stage.SPARSE}
        self.tensors = {
            name: torch.from_numpy(mask_of(variant.encoder.encoding(one)).astype(np.float32))
            for name, one in self._work.items()
        }
        decided = variant.encoder.decided
        self._open = {n: w for n, w in self._work.items() if steps_key(w.steps) not in decided.get(n, {})}

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Steps of a pruned layer that its mask stands for."""
        return self._work[layer].steps

    def hold(self, model: Trainable) -> None:
        """Set the model's pruned weights to zero, those that its optimizer remembers too."""
        with torch.no_grad():
            for name, mask in self.tensors.items():
                model.tensors[f"{name}.weight"].mul_(mask)

    def tighten(self, model: Trainable, share: float) -> None:
        """Masks of `share` of every layer's amount, chosen anew on the trained weights; training's own stay."""
        latent = {name: model.tensors[f"{name}.weight"].detach() for name in self.tensors}
        used = {name: value if name in self._open else value * self.tensors[name] for name, value in latent.items()}
        arrays = {name: value.numpy() for name, value in used.items()}
        for name, work in self._open.items():
            found = _encode(work, weakened(work.steps[-1], share), arrays)
            self.tensors[name].copy_(torch.from_numpy(mask_of(found)))
        self.hold(model)


def _encode(work: LayerWork, step: Step, weights: Mapping[str, np.ndarray]) -> Encoding:
    weight = weights[work.layer.name]

    def scores(criterion: str) -> np.ndarray:
        found: np.ndarray = registry.find("criteria", criterion).weights(weight)
        return found

    context = EncodeContext(work.layer, {name: weights[name] for name in work.peers[-1]}, scores)
    technique: Any = step.found
    found: Encoding = technique.encode(Dense(weight), step.values, context)
    return found


def weakened(step: Step, share: float) -> Step:
    """Step at a share of its strength; itself at 1, and where its strength is fixed (a pattern 2:4)."""
    axis = strength_of(step.found.settings)
    if share >= 1 or axis is None or axis.name in step.found.inactive(step.values):
        return step
    return step.with_settings(**{axis.name: share * getattr(step.values, axis.name)})


def cubic(share: float, start: float) -> float:
    """Part of the final amount at a share 0..1 of the way: fast first (Zhu and Gupta 2017, equation 1)."""
    return 1.0 + (start - 1.0) * (1.0 - min(share, 1.0)) ** 3


class Tightening:
    """The cubic schedule of a run as a function of the step alone."""

    def __init__(self, masks: Masks, model: Trainable, start: float, ramp: float) -> None:
        """`start`: part of the amount at the first step; `ramp`: share of the steps until all of it."""
        self._masks, self._model, self._start, self._ramp = masks, model, start, ramp

    def before(self, step: int, steps: int) -> None:
        """Tighten the masks where this step is one at which they do."""
        place = self._place(step, steps)
        if step == 0 or place != self._place(step - 1, steps):
            self._masks.tighten(self._model, cubic(place / UPDATES, self._start))

    def settled(self, step: int, steps: int) -> bool:
        """True once the masks are those of the plan's amounts."""
        return step > 0 and self._place(step - 1, steps) == UPDATES

    def _place(self, step: int, steps: int) -> int:
        ramp = max(1, min(int(self._ramp * steps), steps - 1))
        return min(UPDATES, step * UPDATES // ramp)


def hook(mask: Tensor) -> Any:
    """Change of a weight that holds its pruned places at zero."""
    return lambda latent: latent * mask
