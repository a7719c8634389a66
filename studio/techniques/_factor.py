"""Numbers of the low-rank forms: a weight, seen through its inputs, as a product of smaller ones (float64).

Weights are (out, in, *kernel), for linear layers (out, in); `M` is the weight as a matrix (out, in * places).
With data, `root` (m, in * places) is a square root of the inputs' second moments C = root.T @ root, and
errors are those of the layer's output, ||(M - M') C^(1/2)||; without, `root` is None and C the identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.techniques._tucker import Tucker, core_of, leading, sweeps

ROUNDS = 4
"""A middle factor is balanced on both sides in turn; after so many rounds both hold to 1 %."""
Basis = tuple[np.ndarray, np.ndarray]
"""Singular values (n,), largest first, and as many vectors."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One layer to factor, with what its forms share between ranks; computed once, then only sliced."""

    key: str  # content key of all that follows
    weight: np.ndarray  # float64
    root: np.ndarray | None
    mean: np.ndarray | None  # (in * places,) of the inputs; None where no bias can take up a shift

    @property
    def matrix(self) -> np.ndarray:
        """`M`, (out, in * places)."""
        return self.weight.reshape(len(self.weight), -1)

    @cached_property
    def seen(self) -> np.ndarray:
        """`M C^(1/2)`, (out, m): what the outputs show of the weight."""
        found: np.ndarray = self.matrix if self.root is None else self.matrix @ self.root.T
        return found

    @cached_property
    def channels(self) -> Basis:
        """Singular values of `seen` and its left vectors (out, n)."""
        return leading(self.seen)

    @cached_property
    def rows(self) -> tuple[Basis, ...]:
        """Ways to choose the columns' filters of the spatial form: singular values and filters (n, in * kh)."""
        inputs, height, width = self.weight.shape[1:]
        folded = self.weight.transpose(1, 2, 0, 3).reshape(inputs * height, -1)
        values, vectors = leading(folded)
        plain = values, vectors.T
        if self.root is None:
            return (plain,)
        views = self.root.reshape(-1, inputs * height, width).transpose(0, 2, 1).reshape(-1, inputs * height)
        ahead, back = square_roots(views.T @ views / width)
        values, vectors = leading(ahead @ folded)
        return (values, vectors.T @ back), plain

    @cached_property
    def inputs(self) -> tuple[Tucker, ...]:
        """Ways to choose the input channels of the Tucker form."""
        whole = self.weight.reshape(*self.weight.shape[:2], -1)
        plain = Tucker.of(whole, np.eye(whole.shape[1]))
        if self.root is None:
            return (plain,)
        views = self.root.reshape(-1, whole.shape[1], whole.shape[2]).transpose(0, 2, 1).reshape(-1, whole.shape[1])
        ahead, back = square_roots(views.T @ views / whole.shape[2])
        return Tucker.of(np.einsum("oip,ij->ojp", whole, ahead), back), plain


def square_roots(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`C^(1/2)` and `C^(-1/2)` of a symmetric positive C (n, n)."""
    squares, vectors = np.linalg.eigh(moments)
    values = np.sqrt(np.maximum(squares, squares[-1] * 1e-12))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def factors(problem: Problem, form: str, ranks: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Weights of the layers that take the layer's place, first to last.

    conv (out, in, kh, kw), `channel` r -> (r, in, kh, kw), (out, r, 1, 1); `spatial` r -> (r, in, kh, 1),
    (out, r, 1, kw); `tucker` (i, o) -> (i, in, 1, 1), (o, i, kh, kw), (out, o, 1, 1).
    linear (out, in), `channel` r -> (r, in), (out, r).
    """
    if form == "channel":
        return balanced(_channel(problem, ranks[0]))
    made = [_spatial(problem, ranks[0], i) for i in range(len(problem.rows))] if form == "spatial" else [
        _tucker(problem, ranks, found) for found in problem.inputs
    ]  # fmt: skip
    return balanced(min(made, key=lambda found: error(problem, found)))


def _channel(problem: Problem, rank: int) -> tuple[np.ndarray, ...]:
    """Best of its rank (Eckart & Young 1936): the projection of M on the leading left vectors of M C^(1/2)."""
    vectors = problem.channels[1][:, :rank]
    first = (vectors.T @ problem.matrix).reshape(rank, *problem.weight.shape[1:])
    return first, _pointwise(vectors, problem.weight.ndim)


def _spatial(problem: Problem, rank: int, way: int) -> tuple[np.ndarray, ...]:
    """Columns then rows (Jaderberg et al. 2014); with data the rows are refitted by least squares."""
    outputs, inputs, height, width = problem.weight.shape
    first = problem.rows[way][1][:rank].reshape(rank, inputs, height)
    if problem.root is None:
        last = np.einsum("riy,oiyx->orx", first, problem.weight)
    else:
        views = np.einsum("miyx,riy->mrx", problem.root.reshape(-1, inputs, height, width), first, optimize=True)
        last = _fitted(views.reshape(len(views), -1), problem.seen.T).T.reshape(outputs, rank, width)
    return first[..., None], last[:, :, None]


def _tucker(problem: Problem, ranks: tuple[int, ...], way: Tucker) -> tuple[np.ndarray, ...]:
    """Tucker-2 (Kim et al. 2016) by HOSVD and HOOI; with data the rest is the best of its rank behind the inputs."""
    inputs, *kernel = problem.weight.shape[1:]
    left, right = sweeps(way, ranks)
    first = right.T @ way.back
    if problem.root is None:
        core = core_of(way.whole, left, right)
    else:
        views = problem.root.reshape(len(problem.root), inputs, -1).transpose(0, 2, 1) @ first.T
        views = views.transpose(0, 2, 1).reshape(len(views), -1)
        fitted = _fitted(views, problem.seen.T)
        left = leading((views @ fitted).T)[1][:, : ranks[1]]
        core = (fitted @ left).T
    ends = problem.weight.ndim
    return _pointwise(first, ends), core.reshape(ranks[1], ranks[0], *kernel), _pointwise(left, ends)


def _fitted(views: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Least squares of `views` (m, n) @ answer (n, out) = `wanted` (m, out), safe where views repeat each other."""
    gram = views.T @ views
    gram[np.diag_indices_from(gram)] += max(1e-13 * np.trace(gram) / len(gram), 1e-300)
    answer: np.ndarray = np.linalg.solve(gram, views.T @ wanted)
    return answer


def _pointwise(matrix: np.ndarray, rank: int) -> np.ndarray:
    """(out, in) as the weight of a layer with so many axes: (out, in, 1, 1)."""
    return matrix.reshape(*matrix.shape, *[1] * (rank - 2))


def balanced(weights: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Return the same product with every channel between two factors as strong behind it as before it.

    In integers, then, neither the weights' scales nor those of the tensor between have to span it all.
    """
    found = list(weights)
    for i in [*range(len(found) - 1)] * ROUNDS:
        before = np.linalg.norm(found[i].reshape(len(found[i]), -1), axis=1)
        behind = np.linalg.norm(np.moveaxis(found[i + 1], 1, 0).reshape(len(before), -1), axis=1)
        used = (before > 0) & (behind > 0)
        scale = np.ones(len(before))
        scale[used] = np.sqrt(behind[used] / before[used])
        found[i] = found[i] * scale.reshape(-1, *[1] * (found[i].ndim - 1))
        found[i + 1] = found[i + 1] / scale.reshape(1, -1, *[1] * (found[i + 1].ndim - 2))
    return tuple(found)


def composed(weights: tuple[np.ndarray, ...]) -> np.ndarray:
    """Weight (out, in, *kernel) that the factors mean together."""
    whole = weights[0]
    for weight in weights[1:]:
        whole = _behind(weight, whole)
    return whole


def _behind(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Weight of `first` (r, in, *kernel) followed by `last` (out, r, *kernel): the kernels share no direction."""
    if last[0, 0].size == 1:
        joined: np.ndarray = last.reshape(len(last), -1) @ first.reshape(len(first), -1)
        return joined.reshape(len(last), *first.shape[1:])
    if first[0, 0].size == 1:
        return np.moveaxis(np.tensordot(last, first.reshape(len(first), -1), ([1], [0])), -1, 1)
    crossed: np.ndarray = np.tensordot(last[:, :, 0], first[..., 0], ([1], [0]))
    return crossed.transpose(0, 2, 3, 1)


def error(problem: Problem, weights: tuple[np.ndarray, ...]) -> float:
    """Relative squared error of the outputs (of the weights where there is no data), 0 to 1 for sensible factors."""
    lost = (problem.matrix - composed(weights).reshape(problem.matrix.shape)).T
    lost = lost if problem.root is None else problem.root @ lost
    whole = float((problem.seen**2).sum())
    return float((lost**2).sum()) / whole if whole else 0.0


def count(form: str, shape: tuple[int, ...], ranks: tuple[int, ...]) -> int:
    """Weights of all factors of a layer (out, in, *kernel)."""
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    if form == "tucker":
        return ranks[0] * inputs + ranks[0] * ranks[1] * places + ranks[1] * outputs
    if form == "spatial":
        return ranks[0] * (inputs * kernel[0] + outputs * kernel[1])
    return ranks[0] * (inputs * places + outputs)
