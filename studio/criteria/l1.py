"""Mean of the absolute weights of a filter (Li et al. 2017, Pruning Filters for Efficient ConvNets)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, rows, weighted


class L1:
    """Mean of |W_c|."""

    name: ClassVar[str] = "l1"
    title: ClassVar[str] = "L1 norm"
    help: ClassVar[str] = "Mean of the absolute weights of a channel."
    needs: ClassVar[frozenset[str]] = frozenset()
    scores_weights: ClassVar[bool] = True

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Weight (out, ...) -> (out,)."""
        scores: np.ndarray = np.abs(rows(weight)).mean(1)
        return scores

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """|w|: the share of each weight in its channel's norm."""
        return np.abs(weight.astype(np.float64))


CRITERION = L1()
