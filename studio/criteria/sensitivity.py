"""What a layer costs, measured: the loss of the metric when it alone is compressed (NNCF, AIMET)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, weighted


class Sensitivity:
    """Mean loss over the cases of `engine.sensitivity`: a score of the layer, the same for all its channels.

    It ranks layers, not the channels of one: for the heat map, for search, for cuts across layers.
    """

    name: ClassVar[str] = "sensitivity"
    title: ClassVar[str] = "Sensitivity"
    help: ClassVar[str] = "Measured loss when this layer alone is compressed; one score for the whole layer."
    needs: ClassVar[frozenset[str]] = frozenset({"measurement"})
    scores_weights: ClassVar[bool] = False

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Loss of the layer as a fraction of 1 -> (out,), all equal."""
        if statistics is None or statistics.drop is None:
            raise ValueError("sensitivity needs a measurement")
        return np.full(len(weight), statistics.drop, np.float64)

    def weights(self, weight: np.ndarray) -> None:
        """A measurement of the layer says nothing about single weights."""


CRITERION = Sensitivity()
