"""Formats of all integer tensors, chosen so that every runtime's sum and mean agree bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studio.core.encoding import Encoding
from studio.core.graph import WEIGHTED
from studio.lowering import formats, forms, integers, mean, pairs
from studio.lowering.formats import Classes, Range
from studio.lowering.program import TensorFormat
from studio.lowering.units import Unit

Shapes = Mapping[str, tuple[int, ...]]
LARGEST_MULTIPLIER = 128.0
"""Accumulator scale over output scale; 256 is where runtimes refuse."""


@dataclass(frozen=True)
class Chosen:
    """Format of every integer tensor by name, and the outputs on which runtimes could not be reconciled."""

    formats: Mapping[str, TensorFormat]
    unreconciled: frozenset[str]


@dataclass(frozen=True)
class Condition:
    """What must hold for the formats of some classes (by root)."""

    classes: frozenset[str]
    holds: Callable[[Mapping[str, TensorFormat]], bool]


def choose_formats(
    units: tuple[Unit, ...],
    integer: frozenset[str],
    kinds: Mapping[str, str],
    classes: Classes,
    ranges: Mapping[str, Range],
    encodings: Mapping[str, Encoding],
    shapes: Shapes,
) -> Chosen:
    """Formats from ranges, then nudged: wide enough for multipliers, equal for sums and means.

    An output scale that is changed is changed for its whole class, and conditions that already held
    for the class must still hold; where no scale is found the operation is unreconciled.
    """
    chosen = _from_ranges(units, integer, classes, ranges)
    conditions: list[Condition] = []
    unreconciled = set()
    for unit in units:
        if unit.output not in integer:
            continue
        root, kind = classes.root(unit.output), kinds[unit.output]
        if root not in classes.fixed and kind not in forms.SAME_FORMAT:
            sources = [chosen[classes.root(name)] for name in unit.inputs]
            _widen(chosen, root, _accumulator_scale(kind, sources, encodings.get(unit.main.name)))
        condition = _condition(unit, kind, classes, shapes)
        if condition is None:
            continue
        if root not in classes.fixed and _settle(chosen, root, [*conditions, condition]):
            conditions.append(condition)
        elif not condition.holds(chosen):
            unreconciled.add(unit.output)
    names = {name: chosen[root] for root, members in classes.members().items() for name in members if root in chosen}
    return Chosen(names, frozenset(unreconciled))


def _from_ranges(
    units: tuple[Unit, ...], integer: frozenset[str], classes: Classes, ranges: Mapping[str, Range]
) -> dict[str, TensorFormat]:
    limits = {unit.output: unit.bounds for unit in units if unit.bounds is not None}
    chosen = {}
    for root, members in classes.members().items():
        if root in classes.fixed:
            chosen[root] = classes.fixed[root]
            continue
        found = [_clipped(ranges[name.removesuffix(formats.requantized(""))], limits.get(name)) for name in members]
        chosen[root] = formats.choose(*formats.union(found))
    return chosen


def _clipped(pair: Range, limits: Range | None) -> Range:
    if limits is None:
        return pair
    low, high = limits
    return min(max(pair[0], low), high), max(min(pair[1], high), low)


def _accumulator_scale(kind: str, sources: Sequence[TensorFormat], encoding: Encoding | None) -> float:
    """Scale of what an operation sums up, before it is brought to the output's."""
    if kind in WEIGHTED:
        assert encoding is not None
        return integers.largest_product(encoding, sources[0])
    scales = [source.scale for source in sources]
    return math.prod(scales) if kind == "mul" else max(scales)


def _widen(chosen: dict[str, TensorFormat], root: str, scale: float) -> None:
    """Enlarge an output scale until no multiplier comes near 256, which runtimes refuse."""
    smallest = float(np.float32(scale / LARGEST_MULTIPLIER))
    if chosen[root].scale < smallest:
        chosen[root] = TensorFormat(smallest, chosen[root].zero_point)


def _condition(unit: Unit, kind: str, classes: Classes, shapes: Shapes) -> Condition | None:
    roots = tuple(classes.root(name) for name in (*unit.inputs, unit.output))
    if kind in pairs.PREVIEW:
        a, b, out = roots
        return Condition(frozenset(roots), lambda found: pairs.agrees(kind, (found[a], found[b], found[out])))
    if kind == forms.MEAN:
        source, out = roots
        places = mean.places((1, 1, *(forms.window(unit.main, shapes) or shapes[unit.inputs[0]][2:])))
        return Condition(frozenset(roots), lambda found: mean.agrees(found[source], found[out], places))
    return None


def _settle(chosen: dict[str, TensorFormat], root: str, conditions: list[Condition]) -> bool:
    """Try output scales of a class until every condition that it takes part in holds."""
    wanted = [condition for condition in conditions if root in condition.classes]
    first = chosen[root]
    for t in range(pairs.STEPS):
        trial = {**chosen, root: pairs.scaled(first, t)}
        if all(condition.holds(trial) for condition in reversed(wanted)):
            chosen[root] = trial[root]
            return True
    return False
