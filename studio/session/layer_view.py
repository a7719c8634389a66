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
from studio.core.plan import Step, Steps
from studio.session import layer_parts
from studio.session.code_view import CodeView, code_view

if TYPE_CHECKING:
    from studio.engine.resolve import Skipped
    from studio.session.session import Session
    from studio.techniques._fast_facts import FastFacts
    from studio.techniques._ranks import Spectrum


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
    def skipped(self) -> tuple[Skipped, ...]:
        """Steps that the layer, its factors or its channel group could not take, each with the reason."""
        return layer_parts.skipped_on(self._session.engine.skipped(self._plan), self.layer, self._session.graph)

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

    @cached_property
    def kept(self) -> np.ndarray | None:
        """Output channels that the plan leaves, bool (channels,) in the file's order; None where none is cut."""
        return layer_parts.kept_outputs(self._session.engine, self._plan, self.layer)

    @property
    def levels(self) -> np.ndarray:
        """Weight values that may be stored, sorted: levels of the grid, or centroids; empty in float or factors."""
        return layer_parts.value_levels(self.encoding)

    @property
    def code(self) -> CodeView | None:
        """Symbols of the stored weights and the bits they take; None in float, or in several factors."""
        return None if self.encoding is None else code_view(self.encoding)

    @property
    def spectrum(self) -> Spectrum:
        """Singular values with the rank of the plan; raises Refused with the reason."""
        return self._session.engine.spectrum(self._plan, self.name)

    def keep_of_rank(self, spectrum: Spectrum, step: Step, rank: int) -> float:
        """Setting of a low-rank step that cuts this layer at a rank."""
        return layer_parts.keep_of_rank(self.layer, spectrum, step, rank)

    @property
    def fast_facts(self) -> FastFacts:
        """What fast convolution saves and costs here, timed; takes tenths of a second. Raises Refused."""
        return layer_parts.fast_facts(self._session.engine, self._plan, self.layer)

    @property
    def mosaics(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Filters as pictures (rows, columns), NaN between tiles: in float, then as stored, each factor by name."""
        if self.weight is None:
            return ()
        axis = self.layer.channel_axis
        found = [("float", layer_parts.mosaic(self.weight, axis))]
        for name, encoding in self.parts.items():
            title = "stored" if name == self.name else f"factor {name.rpartition('/')[2]}"
            found.append((title, layer_parts.mosaic(encoding.decode(), axis if name == self.name else 0)))
        return tuple(found)

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
