"""Ids of channels while a network is followed: which are tied together, and which must stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Labels = np.ndarray
"""Ids of a tensor's places, int64, of the tensor's rank; an axis along which they do not vary is 1 long."""


class Ids:
    """Ids while a network is followed: which are tied together, and which must stay, with the reason."""

    def __init__(self) -> None:
        self.count = 0
        self._left: list[np.ndarray] = []
        self._right: list[np.ndarray] = []
        self._fixed: list[tuple[np.ndarray, str]] = []

    def fresh(self, count: int) -> np.ndarray:
        """New ids (count,)."""
        self.count += count
        return np.arange(self.count - count, self.count)

    def tie(self, left: np.ndarray, right: np.ndarray) -> None:
        """Tie ids one by one; the two are broadcast."""
        a, b = np.broadcast_arrays(left, right)
        different = a != b
        self._left.append(a[different])
        self._right.append(b[different])

    def fix(self, ids: np.ndarray, reason: str) -> None:
        """Say why these ids cannot be removed."""
        self._fixed.append((np.unique(ids), reason))

    def opaque(self, rank: int, reason: str) -> Labels:
        """Labels of a tensor that must stay as it is."""
        labels = self.fresh(1).reshape((1,) * rank)
        self.fix(labels, reason)
        return labels

    def classes(self) -> np.ndarray:
        """Class of each id: the smallest id that it is tied to."""
        left = np.concatenate([np.zeros(0, np.int64), *self._left])
        right = np.concatenate([np.zeros(0, np.int64), *self._right])
        return components(self.count, left, right)

    def reasons(self, classes: np.ndarray) -> dict[int, str]:
        """Reason of each class that must stay, of several the one nearest to the output."""
        found: dict[int, str] = {}
        for ids, reason in reversed(self._fixed):
            for one in np.unique(classes[ids]):
                found.setdefault(int(one), reason)
        return found


def components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Smallest member of each one's connected component, for edges left[i] - right[i]."""
    root = np.arange(count)
    while True:
        a, b = root[left], root[right]
        if (a == b).all():
            return root
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (root != root[root]).any():
            root = root[root]


def collapse(labels: Labels) -> Labels:
    """Labels with every axis along which they do not vary made 1 long."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if labels.shape[axis] > 1 and (labels == first).all():
            labels = first
    return labels


def varying(labels: Labels) -> tuple[int, ...]:
    """Axes along which labels vary."""
    return tuple(axis for axis, size in enumerate(labels.shape) if size > 1)


def first_along(labels: Labels, axes: Sequence[int]) -> Labels:
    """Labels at the first place of the given axes."""
    return labels[tuple(slice(0, 1) if k in axes else slice(None) for k in range(labels.ndim))]
