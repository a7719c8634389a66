"""Ranks of the low-rank forms: the largest within a share of the weights, or the smallest that keep an energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from studio.techniques._factor import Problem, count, error, factors


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What the rank slider of a layer cuts: for a plot, and for a person who looks for the knee."""

    form: str
    ranks: tuple[int, ...]  # none where the factors would hold no fewer weights and the layer stays
    values: np.ndarray  # (n,) singular values, largest first; for Tucker those of the output channels
    energy: np.ndarray  # (n,) share of the squares that the first 1, 2, ... hold

    @property
    def rank(self) -> int | None:
        """Where the values are cut; None where the layer stays."""
        return self.ranks[-1] if self.ranks else None


Choice = tuple[str, tuple[int, ...]]
"""Form and its ranks: (r,), for Tucker (in, out)."""


def spectrum_of(problem: Problem, forms: tuple[str, ...], keep: float, rule: str) -> Spectrum:
    """Singular values of the form that `choose` takes, with its ranks."""
    form, ranks = choose(problem, forms, keep, rule) or (forms[0], ())
    values = spectrum(problem, form)
    return Spectrum(form, ranks, values, kept_energy(values))


def choose(problem: Problem, forms: tuple[str, ...], keep: float, rule: str) -> Choice | None:
    """Form and ranks for a layer; None where no form has fewer weights than the layer itself.

    By weights, all forms get `keep` of the layer's weights and the one with the least error wins; by
    energy, all keep that share of it and the smallest wins.
    """
    shape = problem.weight.shape
    found = [(form, ranks_of(problem, form, keep, rule)) for form in forms]
    found = [(form, ranks) for form, ranks in found if count(form, shape, ranks) < problem.weight.size]
    if len(found) < 2:
        return found[0] if found else None
    if rule == "energy":
        return min(found, key=lambda one: count(one[0], shape, one[1]))
    return min(found, key=lambda one: error(problem, factors(problem, *one)))


def ranks_of(problem: Problem, form: str, keep: float, rule: str) -> tuple[int, ...]:
    """Ranks of one form, at least 1."""
    if form == "tucker":
        return _pair(problem, keep, rule)
    values = spectrum(problem, form)
    if rule == "energy":
        return (1 + int(np.searchsorted(kept_energy(values), keep - 1e-12)),)
    within = math.floor(keep * problem.weight.size / count(form, problem.weight.shape, (1,)) + 1e-9)
    return (min(max(within, 1), len(values)),)


def spectrum(problem: Problem, form: str) -> np.ndarray:
    """Singular values (n,), largest first, that the ranks of a form cut; for Tucker those of its output channels."""
    if form == "spatial":
        return problem.rows[0][0]
    return problem.channels[0]


def kept_energy(values: np.ndarray) -> np.ndarray:
    """Share of the squares that the first 1, 2, ... singular values hold, (n,), ending in 1."""
    squares = np.cumsum(values.astype(np.float64) ** 2)
    whole = float(squares[-1]) if len(squares) else 0.0
    share: np.ndarray = squares / whole if whole else np.ones_like(squares)
    share[-1:] = 1.0
    return share


def _pair(problem: Problem, keep: float, rule: str) -> tuple[int, int]:
    """(in, out) ranks: the most energy within the weights, or the fewest weights that keep the energy."""
    energy = problem.inputs[0].energy
    outputs, inputs, *kernel = problem.weight.shape
    o, i = np.ogrid[1 : energy.shape[0] + 1, 1 : energy.shape[1] + 1]
    places = math.prod(kernel)
    weights = i * inputs + i * o * places + o * outputs
    usable = (i <= o * places) & (o <= i * places)
    if rule == "energy":
        usable &= energy >= keep - 1e-12
        best = np.where(usable, -weights.astype(np.float64), -np.inf)
    else:
        usable &= weights <= keep * problem.weight.size
        # Of equal energies the pair with fewer weights.
        best = np.where(usable, energy - 1e-15 * weights, -np.inf)
    if not usable.any():
        return (1, 1) if rule == "weights" else (energy.shape[1], energy.shape[0])
    at = np.unravel_index(int(best.argmax()), best.shape)
    return int(at[1]) + 1, int(at[0]) + 1
