"""Batch norm behind an activation or pooling, folded into the layer that reads it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.network.network import Network, Node
from studio.network.operators import BatchNorm, Conv, Linear, Operator
from studio.network.shapes import tensor_shapes

MOVES = ("transpose", "reshape")
"""What may stand between the scale and the linear layer that takes it in: values only change places."""


def fold_forward(network: Network) -> Network:
    """Return the same function with scales and shifts of channels moved into the next layer.

    Only where that is exact: the reader is a convolution without padding (a padded zero would be
    shifted too) or a linear layer, and nothing else reads the tensors in between.
    """
    while (found := _find(network)) is not None:
        node, layer, scale, shift = found
        made = _absorbed(layer.operator, scale, shift)
        source = next(i for i in node.inputs if network.by_name[i].kind != "constant")
        nodes = []
        for old in network.nodes:
            if old.name == node.name:
                continue
            inputs = tuple(source if i == node.name else i for i in old.inputs)
            operator = made if old.name == layer.name else old.operator
            changed = inputs != old.inputs or operator is not old.operator
            nodes.append(replace(old, inputs=inputs, operator=operator) if changed else old)
        read = {i for n in nodes for i in n.inputs} | set(network.outputs)
        network = network.with_nodes([n for n in nodes if n.kind != "constant" or n.name in read])
    return network


def _find(network: Network) -> tuple[Node, Node, Tensor, Tensor] | None:
    """Last foldable node, so that of a multiply and an add behind it the add goes first."""
    shapes: dict[str, tuple[int, ...]] | None = None
    for node in reversed(network.nodes):
        if node.kind not in ("batch_norm", "mul", "add", "sub", "div") or node.name in network.outputs:
            continue
        path, layer = _reader(network, node)
        if layer is None:
            continue
        shapes = shapes or tensor_shapes(network)
        source = next(i for i in node.inputs if network.by_name[i].kind != "constant")
        same = shapes[source] == shapes[node.name]
        affine = _affine(network, node, shapes[node.name]) if same else None
        if affine is None:
            continue
        scale, shift = (_moved(value.expand(shapes[node.name]), path) for value in affine)
        if _same_everywhere(layer.operator, scale) and _same_everywhere(layer.operator, shift):
            return node, layer, scale, shift
    return None


def _reader(network: Network, node: Node) -> tuple[list[Node], Node | None]:
    """Nodes that only move values, then the layer that can take the scale in, or None."""
    path: list[Node] = []
    at = node
    while True:
        readers = network.consumers(at.name)
        if len(readers) != 1 or at.name in network.outputs:
            return path, None
        at = readers[0]
        if isinstance(at.operator, Linear):
            return path, at
        if isinstance(at.operator, Conv) and not path and not any(at.operator.pads) and at.operator.groups == 1:
            return path, at
        if at.kind not in MOVES:
            return path, None
        path.append(at)


def _same_everywhere(operator: Operator, value: Tensor) -> bool:
    """True where every row that a linear layer multiplies has the same values; a convolution's always has."""
    if not isinstance(operator, Linear):
        return True
    rows = value.reshape(-1, operator.weight.shape[1])
    return bool((rows == rows[0]).all())


def _affine(network: Network, node: Node, shape: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    """Scale and shift that broadcast against a sample, or None where they are not the same at every place."""
    one, zero = torch.ones(1), torch.zeros(1)
    if isinstance(node.operator, BatchNorm):
        b = node.operator
        scale = b.scale.detach() / torch.sqrt(b.var + b.eps)
        places = [1, -1, *[1] * (len(shape) - 2)]
        return scale.reshape(places), (b.shift.detach() - b.mean * scale).reshape(places)
    constants = [network.by_name[i] for i in node.inputs if network.by_name[i].kind == "constant"]
    if len(constants) != 1:
        return None
    value = constants[0].operator.state_dict()["value"]
    wide = value.reshape([1] * (len(shape) - value.dim()) + list(value.shape)) if value.dim() <= len(shape) else value
    per_channel = wide.dim() == len(shape) and all(d == 1 for i, d in enumerate(wide.shape) if i != 1)
    first = network.by_name[node.inputs[0]].kind == "constant"
    if not per_channel or (first and node.kind in ("div", "sub")):
        return None
    return {"add": (one, wide), "sub": (one, -wide), "mul": (wide, zero), "div": (1 / wide, zero)}[node.kind]


def _moved(value: Tensor, path: list[Node]) -> Tensor:
    """Value of every input of the layer, after the nodes in between moved it."""
    for node in path:
        value = node.operator(value)
    return value


def _absorbed(operator: Operator, scale: Tensor, shift: Tensor) -> Operator:
    """Layer that computes from x what the old one computed from `scale * x + shift`."""
    if isinstance(operator, Linear):
        weight = operator.weight.detach()
        added = weight.double() @ shift.reshape(-1, weight.shape[1])[0].double()
        bias = added.float() if operator.bias is None else (operator.bias.detach().double() + added).float()
        return Linear(weight * scale.reshape(-1, weight.shape[1])[0], bias)
    assert isinstance(operator, Conv)
    weight = operator.weight.detach()
    places = [1, -1, *[1] * (weight.dim() - 2)]
    per_channel = [value.reshape(*value.shape[:2], -1)[0, :, 0] for value in (scale, shift)]
    added = (weight.double() * per_channel[1].double().reshape(places)).flatten(1).sum(1)
    bias = added.float() if operator.bias is None else (operator.bias.detach().double() + added).float()
    wide = weight * per_channel[0].reshape(places)
    return Conv(wide, bias, operator.stride, operator.pads, operator.dilation, operator.groups)
