"""Channel groups: layers whose output channels must be cut together."""

from __future__ import annotations

from studio.core.graph import Shape
from studio.network.network import Network, Node
from studio.network.shapes import tensor_shapes

WEIGHTED = ("conv", "conv_transpose", "linear")
JOINING = ("add", "sub", "mul", "div")


def channel_groups(network: Network) -> dict[str, str]:
    """Group of every weighted layer, named after its first layer in the file's order.

    Adds and products of two tensors with as many channels join their inputs, a depthwise convolution
    joins the layer before it, a concat joins all its inputs; what has no weights passes channels on.
    Where channels are sliced, padded, gathered or mixed a group ends (the option-A shortcut of a
    ResNet: its stages have different widths and can be cut on their own).
    """
    shapes = tensor_shapes(network)
    parent: dict[str, str] = {}
    of: dict[str, str] = {}  # tensor -> a layer that makes its channels
    for node in network.nodes:
        sources = [of[i] for i in node.inputs if i in of and _passes(node, shapes[i], shapes[node.name])]
        if node.kind in WEIGHTED:
            before = of.get(node.inputs[0])
            parent[node.name] = of[node.name] = node.name
            if before and depthwise(node):
                _join(parent, before, node.name)
            continue
        if node.kind in (*JOINING, "concat"):
            for other in sources[1:]:
                _join(parent, sources[0], other)
        if sources:
            of[node.name] = sources[0]
    order = [node.name for node in network.nodes if node.kind in WEIGHTED]
    first: dict[str, str] = {}
    for name in order:
        first.setdefault(_root(parent, name), name)
    return {name: first[_root(parent, name)] for name in order}


def _passes(node: Node, before: Shape, after: Shape) -> bool:
    """True where channel i of the output is channel i of this input, or (concat) of one of them."""
    if node.kind == "concat":
        return True
    if node.kind == "matmul" or len(before) < 2 or before[1:2] != after[1:2]:
        return False
    settings = node.operator.settings()
    if node.kind == "transpose":
        return bool(settings["order"][1] == 1)
    if node.kind == "gather":
        return bool(settings["axis"] != 1)
    return True


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
