"""Which weights stay when exactly so many go, in one layer or over several; of equal scores the first goes first."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Scorer = Callable[[np.ndarray], np.ndarray]


def keep_largest(scores: np.ndarray, pruned: int) -> np.ndarray:
    """Bool of the scores' shape, False for the `pruned` smallest."""
    if pruned == 0:
        return np.ones(scores.shape, np.bool_)
    flat = scores.reshape(-1)
    threshold = np.partition(flat, pruned - 1)[pruned - 1]
    ties = pruned - int(np.count_nonzero(flat < threshold))
    return _mask(scores, threshold, ties)


def keep_globally(name: str, peers: Mapping[str, np.ndarray], pruned: int, criterion: str, score: Scorer) -> np.ndarray:
    """Bool mask of the layer `name` when the `pruned` smallest of all peers' weights go.

    Equal scores go in the order of the peers. All layers' masks together have exactly `pruned` False.
    """
    own = score(peers[name])
    if pruned == 0:
        return np.ones(own.shape, np.bool_)
    ordered = _ordered(tuple(peers.values()), criterion, score)
    threshold = ordered[pruned - 1]
    ties = pruned - int(np.searchsorted(ordered, threshold, "left"))
    if pruned < int(np.searchsorted(ordered, threshold, "right")):  # only some of the equal ones go
        for other, weight in peers.items():
            if other == name:
                break
            ties -= int(np.count_nonzero(score(weight) == threshold))
    return _mask(own, threshold, max(ties, 0))


def _mask(scores: np.ndarray, threshold: float, ties: int) -> np.ndarray:
    kept: np.ndarray = scores >= threshold
    equal = np.flatnonzero(scores.reshape(-1) == threshold)[:ties]
    kept.reshape(-1)[equal] = False
    return kept


@dataclass(frozen=True)
class _Ordered:
    """All scores of some layers, sorted once: a moving slider only looks up its threshold."""

    weights: tuple[weakref.ref[np.ndarray], ...]
    criterion: str
    scores: np.ndarray

    def fits(self, weights: tuple[np.ndarray, ...], criterion: str) -> bool:
        """True for the very same arrays."""
        same = len(weights) == len(self.weights) and all(r() is w for r, w in zip(self.weights, weights, strict=True))
        return same and criterion == self.criterion


_last: list[_Ordered] = []


def _ordered(weights: tuple[np.ndarray, ...], criterion: str, score: Scorer) -> np.ndarray:
    for known in tuple(_last):
        if known.fits(weights, criterion):
            return known.scores
    scores = np.sort(np.concatenate([score(w).reshape(-1) for w in weights]))
    _last[:] = [_Ordered(tuple(weakref.ref(w) for w in weights), criterion, scores)]
    return scores
