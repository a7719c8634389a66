"""The frozen graph of a network: shapes, parameters, MACs, activation bytes, peak RAM."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from studio.core.graph import WEIGHTED, Graph, Layer, Shape
from studio.network.groups import ChannelGroup, depthwise, groups_of
from studio.network.network import Network, Node
from studio.network.partners import partners
from studio.network.shapes import tensor_shapes

TITLES = {
    "input": "Input", "constant": "Constant", "matmul": "MatMul", "batch_norm": "Batch norm", "relu": "ReLU",
    "leaky_relu": "Leaky ReLU", "prelu": "PReLU", "clip": "Clip", "sigmoid": "Sigmoid", "tanh": "Tanh",
    "hard_sigmoid": "Hard sigmoid", "hard_swish": "Hard swish", "softmax": "Softmax", "add": "Add", "sub": "Subtract",
    "mul": "Multiply", "div": "Divide", "max_pool": "Max pool", "average_pool": "Average pool",
    "global_average_pool": "Global average pool", "reduce_mean": "Mean", "concat": "Concat", "slice": "Slice",
    "pad": "Pad", "reshape": "Reshape", "transpose": "Transpose", "resize": "Resize", "gather": "Gather",
    "expand": "Expand",
}  # fmt: skip
IN_PLACE = ("relu", "leaky_relu", "prelu", "clip", "sigmoid", "hard_sigmoid", "hard_swish", "tanh", "reshape")
"""Kinds that may write where they read when nothing else reads it."""
PASSED = ("add", "batch_norm", "max_pool")
"""What may stand between a layer and its ReLU."""


def describe(network: Network) -> Graph:
    """Graph of a (folded) network."""
    shapes = tensor_shapes(network)
    groups = {name: group for group in groups_of(network).values() for name in group.layers}
    unequal = {name: one for name, one in partners(network, shapes).items() if isinstance(one, str)}
    layers = tuple(
        _layer(network, node, shapes, groups.get(node.name), unequal.get(node.name)) for node in network.nodes
    )
    return Graph(
        network.name, layers, network.outputs, peak_ram(layers, network.outputs, lambda n: bytes_of(shapes[n]))
    )


def bytes_of(shape: Shape, width: int = 4) -> int:
    """Bytes of a tensor at so many bytes a value."""
    return width * math.prod(shape)


def peak_ram(layers: Sequence[Layer], outputs: Sequence[str], size: Callable[[str], int]) -> int:
    """Largest sum of tensors that live at once, in this order, input and output included.

    An activation or a reshape that alone reads a tensor takes its place; constants lie in flash.
    """
    constants = {layer.name for layer in layers if layer.kind == "constant"}
    last = {name: i for i, layer in enumerate(layers) for name in layer.inputs}
    live: set[str] = set()
    peak = 0
    for i, layer in enumerate(layers):
        if layer.name in constants:
            continue
        source = layer.inputs[0] if layer.inputs else ""
        replaced = layer.kind in IN_PLACE and last.get(source) == i and source not in outputs
        live.add(layer.name)
        peak = max(peak, sum(size(name) for name in live if not (replaced and name == source)))
        live = {name for name in live if last.get(name, -1) > i or name in outputs}
    return peak


def _layer(
    network: Network, node: Node, shapes: dict[str, Shape], group: ChannelGroup | None, unequal: str | None
) -> Layer:  # fmt: skip
    tensors = node.operator.state_dict()
    weight = tensors.get("weight") if node.kind in WEIGHTED else None
    settings = node.operator.settings()
    return Layer(
        name=node.name,
        source=node.source,
        kind=node.kind,
        detail=_detail(node, weight, settings),
        inputs=node.inputs,
        input_shapes=tuple(shapes[name] for name in node.inputs),
        output_shape=shapes[node.name],
        weight_shape=None if weight is None else tuple(weight.shape),
        parameters=sum(t.numel() for t in tensors.values()) if node.kind != "constant" else 0,
        macs=_macs(node, weight, shapes),
        activation_bytes=bytes_of(shapes[node.name]),
        group=group.name if group else None,
        groups=settings.get("groups", 1),
        rectified=weight is not None and _rectified(network, node),
        companions=group.companions(node.name) if group else (),
        group_channels=group.free if group else 0,
        uncut=group.uncut if group else None,
        unequal=unequal,
        stride=settings.get("stride", ()),
        pads=settings.get("pads", ()),
        dilation=settings.get("dilation", ()),
    )


def _macs(node: Node, weight: Tensor | None, shapes: dict[str, Shape]) -> int:
    """Multiply-accumulates of stored weights for one sample."""
    out = shapes[node.name]
    if node.kind == "matmul":
        return math.prod(out) * shapes[node.inputs[0]][-1]
    if weight is None:
        return 0
    if node.kind == "linear":
        return math.prod(out[1:-1]) * weight.numel()
    places = shapes[node.inputs[0]][2:] if node.kind == "conv_transpose" else out[2:]
    return math.prod(places) * weight.numel()


def _detail(node: Node, weight: Tensor | None, settings: dict[str, Any]) -> str:
    """What a person reads: "Conv 3×3 · 16 → 32 · s2"."""
    if weight is None:
        if node.kind == "clip" and settings == {"low": 0.0, "high": 6.0}:
            return "ReLU6"
        return TITLES[node.kind]
    if node.kind == "linear":
        return f"Linear · {weight.shape[1]} → {weight.shape[0]}"
    kernel = "×".join(map(str, weight.shape[2:]))
    groups = settings["groups"]
    if node.kind == "conv_transpose":
        title, before, after = "Transposed conv", weight.shape[0], weight.shape[1] * groups
    else:
        title, before, after = "Conv", weight.shape[1] * groups, weight.shape[0]
    if depthwise(node):
        title = "Depthwise"
    elif groups > 1:
        title = f"Conv in {groups} groups"
    stride = settings["stride"]
    tail = "" if set(stride) == {1} else f" · s{stride[0]}" if len(set(stride)) == 1 else f" · s{stride}"
    return f"{title} {kernel} · {before} → {after}{tail}"


def _rectified(network: Network, node: Node) -> bool:
    """True where a ReLU follows, also behind an add: exact zeros then mean "silent"."""
    name = node.name
    while len(readers := network.consumers(name)) == 1:
        reader = readers[0]
        if reader.kind == "relu" or (reader.kind == "clip" and reader.operator.settings()["low"] == 0.0):
            return True
        if reader.kind not in PASSED:
            return False
        name = reader.name
    return False
