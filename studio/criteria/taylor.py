"""What the loss would change without a channel, to first order (Molchanov et al. 2017, eq. 8; 2019)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, weighted


class Taylor:
    """Mean over samples of |sum over places of A[:, c] * dLoss/dA[:, c]|, A after its activation."""

    name: ClassVar[str] = "taylor"
    title: ClassVar[str] = "Taylor"
    help: ClassVar[str] = "How much the loss would change without the channel, to first order; needs labels."
    needs: ClassVar[frozenset[str]] = frozenset({"activations", "labels"})
    scores_weights: ClassVar[bool] = False

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Statistics of the channels -> (out,)."""
        if statistics is None or statistics.effect is None:
            raise ValueError("taylor needs gradients of the loss")
        return statistics.effect.astype(np.float64)

    def weights(self, weight: np.ndarray) -> None:
        """Activations say nothing about single weights."""


CRITERION = Taylor()
