"""Tucker-2 of a convolution's weight: few channels in, few out, a small core (Tucker 1966, Kim et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SWEEPS = 3
"""Rounds of HOOI (De Lathauwer et al. 2000); later ones change the error by less than 1e-3 of itself."""


@dataclass(frozen=True, eq=False)
class Tucker:
    """HOSVD of a weight (out, in, places) whose input channels may have been mixed by C^(1/2).

    `back` (in, in) undoes the mixing: rows `right.T @ back` are filters on the layer's real input.
    """

    whole: np.ndarray
    back: np.ndarray
    left: np.ndarray  # (out, n)
    right: np.ndarray  # (in, n)

    @classmethod
    def of(cls, whole: np.ndarray, back: np.ndarray) -> Tucker:
        """Leading directions of both modes."""
        return cls(whole, back, leading(_by_output(whole))[1], leading(_by_input(whole))[1])

    @cached_property
    def energy(self) -> np.ndarray:
        """Share of the squares that the leading (o, i) directions keep, at [o - 1, i - 1]."""
        squares = (core_of(self.whole, self.left, self.right) ** 2).sum(2)
        table = squares.cumsum(0).cumsum(1)
        share: np.ndarray = table / (table[-1, -1] or 1.0)
        return share


def sweeps(found: Tucker, ranks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (out, o) and (in, i) of `ranks` = (i, o), improved in turn by HOOI."""
    left, right = found.left[:, : ranks[1]], found.right[:, : ranks[0]]
    for _ in range(SWEEPS):
        right = leading(_by_input(np.tensordot(left.T, found.whole, 1)))[1][:, : ranks[0]]
        left = leading(np.tensordot(found.whole, right, ([1], [0])).reshape(len(found.whole), -1))[1][:, : ranks[1]]
    return left, right


def core_of(whole: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Core (o, i, places) of a weight (out, in, places) in the directions (out, o) and (in, i)."""
    found: np.ndarray = np.tensordot(np.tensordot(left.T, whole, 1), right, ([1], [0])).transpose(0, 2, 1)
    return found


def leading(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values (n,), largest first, and left singular vectors (rows, n) of a matrix, n its smaller side.

    By the smaller Gram matrix, several times faster than an SVD: values below 1e-8 of the largest are noise.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    squares, vectors = np.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    vectors = vectors[:, ::-1]
    if not wide:
        vectors = np.linalg.qr(matrix @ vectors)[0]
    return np.sqrt(np.maximum(squares[::-1], 0)), vectors


def _by_output(whole: np.ndarray) -> np.ndarray:
    return whole.reshape(len(whole), -1)


def _by_input(whole: np.ndarray) -> np.ndarray:
    return whole.transpose(1, 0, 2).reshape(whole.shape[1], -1)
