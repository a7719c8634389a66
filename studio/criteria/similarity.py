"""Redundancy of filters by cosine (He et al. 2019, FPGM; "matrix similarity")."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from studio.core.graph import Layer
from studio.criteria._base import ChannelStatistics, rows, weighted

TIE = 1e-6
"""Largest rise of a score by which equal scores are told apart."""
EQUAL = 9
"""Decimals to which scores are compared: rounding makes no ties and breaks none."""


class Similarity:
    """1 - max over j != c of |cos(W_c, W_j)|: a filter that another repeats is redundant.

    Filters that are each other's nearest have one score by definition. Of equal scores the larger norm
    is kept (of equal norms the first filter): it is raised by less than `TIE`, in the order of the norms.
    A filter of zeros adds nothing: score 0. A single filter has no other: score 1.
    """

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "Similarity"
    help: ClassVar[str] = "How little a filter repeats another one of its layer (cosine of the weights)."
    needs: ClassVar[frozenset[str]] = frozenset()
    scores_weights: ClassVar[bool] = False

    def refuses(self, layer: Layer) -> str | None:
        """Refuse a layer without weights."""
        return weighted(layer)

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Weight (out, ...) -> (out,), each 0..1."""
        flat = rows(weight)
        norm = np.linalg.norm(flat, axis=1)
        if len(flat) == 1:
            return np.ones(1)
        unit = flat / np.where(norm > 0, norm, 1.0)[:, None]
        cosine = np.abs(unit @ unit.T)
        np.fill_diagonal(cosine, -1.0)
        scores = np.where(norm > 0, np.clip(1.0 - cosine.max(1), 0.0, 1.0), 0.0)
        return scores + TIE * _rank(scores.round(EQUAL), norm)

    def weights(self, weight: np.ndarray) -> None:
        """Whole filters are compared, not single weights."""


def _rank(scores: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Place of each filter among those of equal score, 0..1: 0 for the smallest norm and for a score of its own."""
    order = np.lexsort((-np.arange(len(scores)), norm, scores))
    fresh = np.concatenate([[True], np.diff(scores[order]) > 0])
    start = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
    ranks = np.empty(len(order))
    ranks[order] = (np.arange(len(order)) - start) / len(order)
    return ranks


CRITERION = Similarity()
