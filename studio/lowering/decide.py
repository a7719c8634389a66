"""Which units compute on integers."""

from __future__ import annotations

from collections.abc import Mapping

from studio.core.encoding import Encoding
from studio.core.graph import WEIGHTED
from studio.lowering import forms
from studio.lowering.integers import on_grid
from studio.lowering.units import Unit

WIDE_BITS = 16
FLOAT_BITS = 32


def integer_units(
    units: tuple[Unit, ...],
    encodings: Mapping[str, Encoding],
    activation_bits: Mapping[str, int | None],
    shapes: Mapping[str, tuple[int, ...]],
) -> frozenset[str]:
    """Outputs of the units that compute on integers.

    A weighted unit does where its encoding is a Grid or an int8 Codebook and neither its output nor what it reads is
    explicitly 16 or 32 bits; a weightless one where it has an integer form, reads at least one integer
    tensor and its output is not explicitly 32 bits; one that only moves values also where all that
    reads it does, so that the network's input is quantized first.
    """
    constants = frozenset(unit.output for unit in units if unit.main.kind == "constant")
    explicit = {unit.output: _is_float(unit, activation_bits) for unit in units}
    found: set[str] = set()
    for unit in units:
        node = unit.main
        if explicit[unit.output] or not forms.has_integer_form(node, shapes, constants):
            continue
        if node.kind in WEIGHTED:
            if on_grid(encodings.get(node.name)) and not explicit[unit.inputs[0]]:
                found.add(unit.output)
        elif found.intersection(unit.inputs):
            found.add(unit.output)
    for unit in reversed(units):
        if unit.main.kind in forms.MOVES and unit.output not in found and not explicit[unit.output]:
            readers = {other.output for other in units if unit.output in other.inputs}
            movable = forms.has_integer_form(unit.main, shapes, constants) and not explicit[unit.inputs[0]]
            if movable and readers and readers <= found:
                found.add(unit.output)
    return frozenset(found)


def _is_float(unit: Unit, bits: Mapping[str, int | None]) -> bool:
    return any(bits.get(node.name) in (WIDE_BITS, FLOAT_BITS) for node in unit.nodes)


def wide_tensors(units: tuple[Unit, ...], bits: Mapping[str, int | None]) -> frozenset[str]:
    """Outputs of the units that are explicitly 16 bits: float operations write them, int16 keeps them.

    No runtime here multiplies 16-bit activations as the others do, so the layers around them compute
    in float on what the 16 bits hold.
    """
    return frozenset(u.output for u in units if any(bits.get(node.name) == WIDE_BITS for node in u.nodes))
