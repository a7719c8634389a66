"""Average percentage of zeros, turned round (Hu et al. 2016, Network Trimming)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, weighted


class Apoz:
    """1 - share of exact zeros in A[:, c] over samples and places, A after a ReLU."""

    name: ClassVar[str] = "apoz"
    title: ClassVar[str] = "APoZ"
    help: ClassVar[str] = "Share of samples and places at which a rectified channel is not silent."
    needs: ClassVar[frozenset[str]] = frozenset({"activations"})
    scores_weights: ClassVar[bool] = False

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights, or without a ReLU behind it: it has no exact zeros to count."""
        if layer.weighted and not layer.rectified:
            return f"No ReLU follows {layer.name}, so it is never exactly zero."
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Statistics of the channels -> (out,), each 0..1."""
        if statistics is None or statistics.zeros is None:
            raise ValueError("apoz needs statistics of activations")
        return 1.0 - statistics.zeros.astype(np.float64)

    def weights(self, weight: np.ndarray) -> None:
        """Activations say nothing about single weights."""


CRITERION = Apoz()
