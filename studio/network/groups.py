"""Channel groups: layers whose output channels must be cut together."""

from __future__ import annotations

from studio.network.network import Network, Node

WEIGHTED = ("conv", "conv_transpose", "linear")
JOINING = ("add", "sub", "mul", "div")


def channel_groups(network: Network) -> dict[str, str]:
    """Group of every weighted layer, named after its first layer in the file's order.

    Adds and products of two tensors join their inputs, a depthwise convolution joins the layer before
    it, a concat joins all its inputs; everything without weights passes channels on.
    """
    parent: dict[str, str] = {}
    of: dict[str, str] = {}  # tensor -> a layer that makes its channels
    for node in network.nodes:
        sources = [of[i] for i in node.inputs if i in of]
        if node.kind in WEIGHTED:
            parent[node.name] = node.name
            of[node.name] = node.name
            if sources and depthwise(node):
                _join(parent, sources[0], node.name)
        elif node.kind in (*JOINING, "concat"):
            for other in sources[1:]:
                _join(parent, sources[0], other)
        if node.kind not in WEIGHTED and sources:
            of[node.name] = sources[0]
    order = [node.name for node in network.nodes if node.kind in WEIGHTED]
    first: dict[str, str] = {}
    for name in order:
        first.setdefault(_root(parent, name), name)
    return {name: first[_root(parent, name)] for name in order}


def depthwise(node: Node) -> bool:
    """True for a convolution in which every input channel has filters of its own."""
    if node.kind != "conv":
        return False
    groups: int = node.operator.settings()["groups"]
    weight = node.operator.state_dict()["weight"]
    return groups > 1 and weight.shape[1] == 1


def _join(parent: dict[str, str], a: str, b: str) -> None:
    parent[_root(parent, b)] = _root(parent, a)


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        name = parent[name]
    return name
