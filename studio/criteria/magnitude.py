"""Size of single weights (Han et al. 2015, Learning both Weights and Connections)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, global_threshold, rows, weighted


class Magnitude:
    """|w| for every weight; a channel's score is the share of its weights above one global threshold.

    The threshold is `statistics.threshold`: the median of |w| over all weighted layers of the network
    (`criteria.global_threshold`), so that half of all weights lie above it. A weight that comes
    without one is taken as a network of its own.
    """

    name: ClassVar[str] = "magnitude"
    title: ClassVar[str] = "Magnitude"
    help: ClassVar[str] = "Absolute value of single weights; for a channel, the share above the network's median."
    needs: ClassVar[frozenset[str]] = frozenset()
    scores_weights: ClassVar[bool] = True

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Weight (out, ...) -> (out,), each 0..1."""
        threshold = statistics.threshold if statistics else None
        if threshold is None:
            threshold = global_threshold([weight])
        scores: np.ndarray = (np.abs(rows(weight)) > threshold).mean(1)
        return scores

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """|w|."""
        return np.abs(weight.astype(np.float64))


CRITERION = Magnitude()
