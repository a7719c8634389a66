"""What a technique is: a stage, declared settings, a reason where it does not apply, a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol

import numpy as np

from studio.core.encoding import Encoding
from studio.core.graph import Layer
from studio.core.settings import Settings


class Stage(IntEnum):
    """Order in which techniques act on a layer; at most one step a stage and layer."""

    STRUCTURE = 0
    FACTOR = 1
    EQUALIZE = 2
    SPARSE = 3
    GRID = 4
    CODE = 5
    KERNEL = 6


REWRITES = (Stage.STRUCTURE, Stage.FACTOR, Stage.EQUALIZE)
"""Stages that rewrite the network."""
ENCODES = (Stage.SPARSE, Stage.GRID, Stage.CODE)
"""Stages that encode the weights of one layer."""


@dataclass(frozen=True)
class EncodeContext:
    """What an Encode technique may look at.

    `peers` is filled only for techniques whose `scope(settings)` is "global": float weights of all
    layers that carry the same step, in graph order. `scores(criterion)` gives the importance of the
    layer's single weights (same shape as the weight) by a registered criterion.
    """

    layer: Layer
    peers: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: Callable[[str], np.ndarray] | None = None


class Technique(Protocol):
    """One file in `studio/techniques`, registered as `TECHNIQUE`."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]  # one sentence for `techniques` and tooltips
    letters: ClassVar[str]  # chip: "Q", "P"
    stage: ClassVar[Stage]
    settings: ClassVar[type[Settings]]

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Reason why the layer cannot take this step, as a sentence; None where it can."""

    def chip(self, settings: Any) -> str:
        """Return the few characters of the step on a layer card: "Q4", "P60 %"."""

    def scope(self, settings: Any) -> str:
        """Return "layer", or "global" where layers with the same step are decided together."""

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Settings that change nothing beside the others' values, each with the reason for its greyed control."""


class EncodeTechnique(Technique, Protocol):
    """Stages SPARSE, GRID, CODE: a pure function on encodings."""

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Return the new encoding; `encoding` stays as it was."""
