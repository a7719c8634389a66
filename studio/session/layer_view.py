"""One layer as the inspector shows it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core import registry
from studio.core.encoding import Encoding
from studio.core.errors import StudioError
from studio.core.graph import Layer
from studio.core.metrics import sqnr_db
from studio.core.plan import Steps

if TYPE_CHECKING:
    from studio.session.session import Session


class LayerView:
    """A layer together with its session: weights, importance, what the current plan makes of it."""

    def __init__(self, session: Session, layer: Layer) -> None:
        self._session = session
        self._plan = session.plan
        self.layer = layer

    @property
    def name(self) -> str:
        """Studio name."""
        return self.layer.name

    @property
    def weight(self) -> np.ndarray | None:
        """Float32 weights, or None for a layer without."""
        dense = self._session.engine.base.encoder.dense.get(self.name)
        return None if dense is None else dense.values

    @cached_property
    def parts(self) -> Mapping[str, Encoding]:
        """Weights as the plan stores them, by name: the layer itself, its factors, or nothing without weights."""
        engine = self._session.engine
        encodings = engine.encodings(self._plan)
        return {name: encodings[name] for name in engine.variant(self._plan).parts(self.name)}

    @property
    def encoding(self) -> Encoding | None:
        """Weights as the plan stores them; None for a layer without, or in several factors."""
        return next(iter(self.parts.values())) if len(self.parts) == 1 else None

    @cached_property
    def stored(self) -> np.ndarray:
        """All weights as the plan stores them, decoded, in one row: (weights,), of all factors."""
        return np.concatenate([encoding.decode().reshape(-1) for encoding in self.parts.values()])

    @property
    def steps(self) -> Steps:
        """Effective steps that the layer accepts, its channel group's among them."""
        return self._session.engine.resolve(self._plan).steps.get(self.name, ())

    @property
    def bytes(self) -> int:
        """Packed weights and bias under the plan."""
        return dict(self._session.engine.cost(self._plan).layer_bytes).get(self.name, 0)

    @property
    def float_bytes(self) -> int:
        """Float32 weights and bias."""
        return 4 * self.layer.parameters

    @cached_property
    def sqnr_db(self) -> float | None:
        """Signal to noise of what is stored against the same weights in float, in dB; inf for float.

        Channels that are cut and factors count as they are: only pruning and grids add noise. None without weights.
        """
        if self.weight is None:
            return None
        dense = self._session.engine.variant(self._plan).encoder.dense
        whole = np.concatenate([dense[name].values.reshape(-1) for name in self.parts])
        return sqnr_db(whole, self.stored)

    def histogram(self, bins: int = 101, compressed: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Counts (bins,) and edges (bins + 1,) of the weights, symmetric around zero.

        `compressed`: of the decoded weights on the same edges. Raises StudioError without weights.
        """
        if self.weight is None:
            raise StudioError("the layer has no weights.", where=self.name)
        limit = float(np.abs(self.weight).max()) or 1.0
        values = self.stored if compressed else self.weight
        counts, edges = np.histogram(np.clip(values, -limit, limit), bins, (-limit, limit))
        return counts, edges

    def importance(self, criterion: str) -> np.ndarray:
        """Score of each output channel (channels,), higher = keep; raises StudioError with the reason."""
        return self._session.engine.importance(self.layer, criterion, self._plan.calibration)

    def reason(self, technique: str, settings: dict[str, Any] | None = None) -> str | None:
        """Why the layer cannot take a technique, or None: the tooltip of the greyed control."""
        found = registry.find("techniques", technique)
        if not self.layer.weighted:
            return f"A {self.layer.kind} has no weights."
        reason: str | None = found.refuses(self.layer, found.settings(**(settings or {})))
        return reason
