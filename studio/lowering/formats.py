"""One scale and zero point for every integer tensor: shared where operators ask for it.

A tensor's integer form belongs to a class; all tensors of a class carry one format, chosen from the
union of their ranges. Zero is exactly representable (the zero point is an integer in range).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from studio.lowering import forms
from studio.lowering.program import TensorFormat
from studio.lowering.units import Unit

Range = tuple[float, float]
LOW, HIGH = -128, 127
SMALLEST = 2.0**-60
"""No scale is smaller: products of two scales stay far above float32's subnormal numbers."""


class Classes:
    """Tensors that carry one format, as disjoint sets (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self.fixed: dict[str, TensorFormat] = {}  # by root

    def root(self, name: str) -> str:
        """Representative of the class of a tensor; an unknown tensor is a class of its own."""
        parent = self._parent.setdefault(name, name)
        if parent != name:
            parent = self._parent[name] = self.root(parent)
        return parent

    def join(self, first: str, second: str) -> None:
        """Make two classes one; a fixed format holds for both."""
        a, b = self.root(first), self.root(second)
        if a != b:
            self._parent[b] = a
            if b in self.fixed:
                self.fixed[a] = self.fixed.pop(b)

    def fix(self, name: str, format: TensorFormat) -> None:
        """Give the class of a tensor a format that is not chosen from ranges."""
        self.fixed[self.root(name)] = format

    def fixed_format(self, name: str) -> TensorFormat | None:
        """Format that the class was given, if any."""
        return self.fixed.get(self.root(name))

    def members(self) -> dict[str, list[str]]:
        """Tensors of each class, by root."""
        found: dict[str, list[str]] = {}
        for name in self._parent:
            found.setdefault(self.root(name), []).append(name)
        return found


def requantized(name: str) -> str:
    """Name of a tensor's copy in another format."""
    return f"{name}:requantized"


Copies = frozenset[tuple[str, str]]
"""(unit output, input): this unit reads a requantized copy of the input."""


def unify(units: Iterable[Unit], integer: frozenset[str], kinds: Mapping[str, str]) -> tuple[Classes, Copies]:
    """Classes of the integer tensors, and which inputs must be requantized before they are joined.

    `kinds`: operation kind by unit output. A tensor of fixed format (softmax) that meets tensors of
    another format in one operator enters it as a requantized copy.
    """
    classes = Classes()
    copies: set[tuple[str, str]] = set()
    for unit in units:
        if unit.output not in integer:
            continue
        kind = kinds[unit.output]
        for name in (unit.output, *unit.inputs):
            classes.root(name)
        if kind in forms.FIXED:
            classes.fix(unit.output, forms.FIXED[kind])
        if kind not in forms.SAME_FORMAT:
            continue
        clash = len({classes.fixed_format(name) for name in unit.inputs}) > 1
        for name in unit.inputs:
            if clash and classes.fixed_format(name) is not None:
                copies.add((unit.output, name))
                classes.join(unit.output, requantized(name))
            else:
                classes.join(unit.output, name)
    return classes, frozenset(copies)


def union(ranges: Iterable[Range]) -> Range:
    """Smallest range that holds all of them and zero."""
    pairs = list(ranges)
    return min(0.0, *(low for low, _ in pairs)), max(0.0, *(high for _, high in pairs))


def choose(low: float, high: float, bits: int = 8) -> TensorFormat:
    """Asymmetric format of 8 or 16 bits for a range that holds zero; scale exact in float32.

    The zero point is nudged to the nearest integer as TensorFlow Lite does (Jacob 2018, section 2.1):
    of the two ends the one with the smaller error decides. A tensor that is always zero gets scale 1/128,
    which no other tensor's scale is far away from.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"a range must be finite, got {low}..{high}")
    if high <= low:
        return TensorFormat(1 / 128, 0, bits)
    least, most = ends(bits)
    scale = float(np.float32(max((high - low) / (most - least), SMALLEST)))
    from_low, from_high = least - low / scale, most - high / scale
    use_low = abs(least) + abs(low / scale) < abs(most) + abs(high / scale)
    zero_point = round(min(max(from_low if use_low else from_high, least), most))
    return TensorFormat(scale, zero_point, bits)


def ends(bits: int) -> tuple[int, int]:
    """Least and largest integer of so many bits: (-128, 127) for 8."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def wide(name: str) -> str:
    """Name of the 16-bit form of a tensor that float operations write and read."""
    return f"{name}:int16"


def clamp(bounds: tuple[float, float] | None, format: TensorFormat) -> tuple[int, int]:
    """Integers that an activation's bounds become: `rint(float32(bound / scale) + zero_point)`, in range."""
    if bounds is None:
        return LOW, HIGH
    scale = np.float32(format.scale)
    found = [np.rint(np.float32(b) / scale + np.float32(format.zero_point)) for b in bounds]
    low, high = (int(min(max(end, LOW), HIGH)) for end in found)
    return low, high
