"""Which samples come first: seeded draws, by class where labels exist.

Real sets are sorted by class; every prefix of the order here holds the classes in proportion.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from studio.core.errors import DataError


def balanced_order(count: int, labels: np.ndarray | None, seed: int, first: int | None = None) -> np.ndarray:
    """Seeded random order of 0..count-1, (count,) int64; `first`: only so many of it.

    With labels, each prefix of length p holds p * n_c / count samples of class c to less than one
    (the chairman assignment problem, Tijdeman 1980). Raises DataError for a negative seed.
    """
    if seed < 0:
        raise DataError(f"seed {seed} is not possible.", where="seed", remedy="Choose 0 or more.")
    random = np.random.default_rng(seed)
    if labels is None or count == 0:
        return random.permutation(count)[:first]
    classes = np.unique(labels)
    if len(classes) == 1:
        return random.permutation(count)[:first]
    members = [random.permutation(np.flatnonzero(labels == c)) for c in classes]
    return _interleave(members, iter(random.random(count)), count if first is None else min(first, count))


def _interleave(members: list[np.ndarray], draws: Iterator[float], most: int) -> np.ndarray:
    """Earliest deadline first, `most` samples; `draws` decide between equal deadlines."""
    slack = 1 / (2 * len(members) - 2)
    total = sum(map(len, members))
    waiting = [(slack * total / len(m), c, 0) for c, m in enumerate(members)]
    heapq.heapify(waiting)
    ready: list[tuple[float, float, int, int]] = []
    order = np.empty(most, dtype=np.int64)
    for place in range(most):
        # The tolerance keeps rounding from shifting a release by a whole place.
        while waiting and waiting[0][0] <= place + 1 + 1e-9:
            _, c, k = heapq.heappop(waiting)
            deadline = (k + 1 - slack) * total / len(members[c])
            heapq.heappush(ready, (round(deadline, 6), next(draws), c, k))
            if k + 1 < len(members[c]):
                heapq.heappush(waiting, ((k + 1 + slack) * total / len(members[c]), c, k + 1))
        _, _, c, k = heapq.heappop(ready)
        order[place] = members[c][k]
    return order
