"""Network + encodings + ranges -> the frozen integer program.

fuse -> decide -> unify -> choose formats (reconciled) -> integers -> operations with content keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch

from studio.core.encoding import Encoding
from studio.lowering import formats, forms
from studio.lowering.decide import integer_units, wide_tensors
from studio.lowering.emit import Emitter
from studio.lowering.formats import Range, unify
from studio.lowering.program import Program
from studio.lowering.reconcile import choose_formats
from studio.lowering.units import fuse, split
from studio.network.network import Network

_shapes: WeakKeyDictionary[Network, dict[str, tuple[int, ...]]] = WeakKeyDictionary()


def lower(
    network: Network,
    encodings: Mapping[str, Encoding],
    ranges: Mapping[str, Range],
    activation_bits: Mapping[str, int | None] | None = None,
) -> Program:
    """Integers of a folded network, made once; preview, writers and C all take them.

    `encodings`: by weighted layer; absent = float. `ranges`: (low, high) of every tensor that may
    become int8 or int16, by node name. `activation_bits`: explicit bits by output tensor, 32 = float.
    Raises KeyError where an integer tensor has no range.
    """
    shapes = tensor_shapes(network)
    units = fuse(network)
    integer = integer_units(units, encodings, activation_bits or {}, shapes)
    wide = {
        name: formats.choose(*formats.union([ranges[name]]), 16) for name in wide_tensors(units, activation_bits or {})
    }
    units = tuple(part for unit in units for part in ((unit,) if unit.output in integer else split(unit)))
    kinds = {unit.output: forms.kind(unit.main, shapes) for unit in units}
    classes, copies = unify(units, integer, kinds)
    chosen = choose_formats(units, integer, kinds, classes, ranges, encodings, shapes)
    emitter = Emitter(network, encodings, chosen, shapes, wide)
    for unit in units:
        emitter.add(unit, kinds[unit.output], unit.output in integer, copies)
    return emitter.program()


def tensor_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Shape of every node's output for a batch of 1; computed once a network."""
    if network not in _shapes:
        found: dict[str, tuple[int, ...]] = {}
        feed = [torch.zeros(node.operator.settings()["shape"]) for node in network.inputs]
        network.run(feed, visit=lambda node, value: found.__setitem__(node.name, tuple(value.shape)))
        _shapes[network] = found
    return _shapes[network]
