"""What becomes one operation: a node, or a node with the activation behind it."""

from __future__ import annotations

from dataclasses import dataclass

from studio.lowering import forms
from studio.network.network import Network, Node

Bounds = tuple[float, float]
FUSED = ("conv", "linear", "add")
"""Kinds whose integer form takes the following ReLU or clip as a clamp."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One or two nodes of the network; `output` is the last node's name, `inputs` the first one's."""

    nodes: tuple[Node, ...]
    bounds: Bounds | None = None  # of the fused activation, in real numbers

    @property
    def main(self) -> Node:
        """The node that computes."""
        return self.nodes[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return self.nodes[0].inputs

    @property
    def output(self) -> str:
        """Tensor that it writes."""
        return self.nodes[-1].name


def fuse(network: Network) -> tuple[Unit, ...]:
    """Units in topological order: conv, linear or add with the only ReLU or clip that reads it.

    A fused unit stands at the place of its first node; nothing else reads between the two.
    """
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    units, taken = [], set()
    for node in network.nodes:
        if node.name in taken:
            continue
        after = readers.get(node.name, [])
        bounds = forms.bounds(after[0].operator) if len(after) == 1 else None
        if node.kind in FUSED and bounds is not None and node.name not in network.outputs:
            units.append(Unit((node, after[0]), bounds))
            taken.add(after[0].name)
        else:
            units.append(Unit((node,), None))
    return tuple(units)


def split(unit: Unit) -> tuple[Unit, ...]:
    """Return the unit's nodes as units of their own: float operations keep their activation apart."""
    return tuple(Unit((node,), None) for node in unit.nodes)
