"""Mean absolute activation (Molchanov et al. 2017, Pruning Convolutional Neural Networks)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, weighted


class MeanActivation:
    """Mean of |A[:, c]| over samples and places, A after the activation."""

    name: ClassVar[str] = "mean_activation"
    title: ClassVar[str] = "Mean activation"
    help: ClassVar[str] = "How strongly a channel answers on average over the calibration samples."
    needs: ClassVar[frozenset[str]] = frozenset({"activations"})
    scores_weights: ClassVar[bool] = False

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Statistics of the channels -> (out,)."""
        if statistics is None or statistics.mean_absolute is None:
            raise ValueError("mean_activation needs statistics of activations")
        return statistics.mean_absolute.astype(np.float64)

    def weights(self, weight: np.ndarray) -> None:
        """Activations say nothing about single weights."""


CRITERION = MeanActivation()
