"""Root mean square of a filter (Li et al. 2017, Pruning Filters for Efficient ConvNets)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, rows, weighted


class L2:
    """Root mean square of W_c."""

    name: ClassVar[str] = "l2"
    title: ClassVar[str] = "L2 norm"
    help: ClassVar[str] = "Root mean square of the weights of a channel."
    needs: ClassVar[frozenset[str]] = frozenset()
    scores_weights: ClassVar[bool] = True

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Weight (out, ...) -> (out,)."""
        scores: np.ndarray = np.sqrt(np.square(rows(weight)).mean(1))
        return scores

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """Square of w: the share of each weight in its channel's norm."""
        return np.square(weight.astype(np.float64))


CRITERION = L2()
