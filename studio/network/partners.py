"""Pairs of layers between which a channel's scale can be moved without changing the function.

Between `y = W1 x` and `z = W2 f(y)` with `f(s y) = s f(y)` for s > 0, a channel of W1 can be divided by s
and the weights of W2 that read it multiplied by s (Nagel et al. 2019, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.graph import WEIGHTED, Shape
from studio.network.network import Network, Node

POINTWISE = ("relu", "leaky_relu", "prelu")
"""Activations that pass on a positive factor of each channel."""
OVER_PLACES = ("max_pool", "average_pool", "global_average_pool")


@dataclass(frozen=True)
class Partner:
    """The layer that alone reads another one's channels. `places`: values of one channel, in one row of its weight."""

    reader: str
    places: int = 1


def partners(network: Network, shapes: Mapping[str, Shape]) -> dict[str, Partner | str]:
    """Partner of each weighted layer, or the sentence that says why it has none."""
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    weighted = [node for node in network.nodes if node.kind in WEIGHTED]
    return {node.name: _partner(node, network, readers, shapes) for node in weighted}


def _partner(
    layer: Node, network: Network, readers: Mapping[str, list[Node]], shapes: Mapping[str, Shape]
) -> Partner | str:  # fmt: skip
    name, places = layer.name, 1
    last = layer.kind == "linear" and len(shapes[layer.name]) > 2  # channels lie on the last axis
    while True:
        if name in network.outputs or len(readers.get(name, ())) != 1:
            what = "the network's output" if name in network.outputs else "read more than once"
            return f"The channels of {layer.name} are {what}: no single layer could make good a scale."
        node = readers[name][0]
        if node.kind in WEIGHTED:
            fits = last == (node.kind == "linear" and len(shapes[name]) > 2)
            return Partner(node.name, places) if fits else f"{node.name} does not read single channels of {layer.name}."
        passed = _places(node, shapes, places, last)
        if passed is None:
            return _reason(layer, node)
        name, places = node.name, passed


def _places(node: Node, shapes: Mapping[str, Shape], places: int, last: bool) -> int | None:
    """Values of a channel in one row behind a node; None where scales of channels do not pass it."""
    before, after = shapes[node.inputs[0]], shapes[node.name]
    if node.kind in POINTWISE:
        return places if node.kind != "prelu" or not last else None
    if last:
        return None
    if node.kind in OVER_PLACES:
        return places
    settings = node.operator.settings()
    if node.kind == "reduce_mean":
        return places if 1 not in {axis % len(before) for axis in settings["axes"]} else None
    if node.kind == "pad":
        return places if settings["mode"] == "constant" and settings["value"] == 0 and before[1] == after[1] else None
    if node.kind == "reshape" and len(after) == 2 and after[0] == before[0]:
        return places * math.prod(before[2:])
    return None


def _reason(layer: Node, node: Node) -> str:
    if node.kind == "clip":
        high = node.operator.settings()["high"]
        name = "ReLU6" if high == 6 else "a clip"
        return f"{name[0].upper()}{name[1:]} behind {layer.name} clips at fixed values, which a scale would move."
    return f"{node.name} ({node.kind}) stands behind {layer.name}, which scales of single channels do not pass."
