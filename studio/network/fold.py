"""Batch norm and constant scales folded into the layer before them: the network that techniques act on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.network.fold_forward import fold_forward
from studio.network.network import Network, Node
from studio.network.operators import BatchNorm, Conv, ConvTranspose, Linear, Operator
from studio.network.shapes import tensor_shapes

Affine = tuple[Tensor, Tensor]
"""Scale and shift of each output channel."""
JOINS = ("add", "sub", "mul", "div")


def fold(network: Network) -> Network:
    """Return the same function with fewer nodes.

    Batch norm, and adding, subtracting, multiplying or dividing by a constant for each channel, goes
    into the convolution or linear layer before it where nothing else reads that layer's output, else
    into the one behind it where that is exact. The folded node keeps the layer's name. What cannot be
    folded stays.
    """
    return fold_forward(fold_back(network))


def fold_back(network: Network) -> Network:
    """Fold into the layers before."""
    nodes = {node.name: node for node in network.nodes}
    order = [node.name for node in network.nodes]
    renamed: dict[str, str] = {}
    for name in list(order):
        node = replace(nodes[name], inputs=tuple(renamed.get(i, i) for i in nodes[name].inputs))
        nodes[name] = node
        target = _target(node, nodes, network, renamed)
        affine = None if target is None else _affine(node, target, nodes, network)
        if target is not None and affine is not None:
            nodes[target.name] = replace(target, operator=_scaled(target.operator, *affine))
            renamed[name] = target.name
            del nodes[name]
            order.remove(name)
    outputs = [renamed.get(name, name) for name in network.outputs]
    read = {i for name in order for i in nodes[name].inputs} | set(outputs)
    kept = [nodes[n] for n in order if nodes[n].kind != "constant" or n in read]
    return network.with_nodes(kept, outputs)


def _target(node: Node, nodes: dict[str, Node], network: Network, renamed: dict[str, str]) -> Node | None:
    """Layer before a node that could take it in: read by this node alone, and no output of the network."""
    computed = [i for i in node.inputs if nodes[i].kind != "constant"]
    if node.kind not in ("batch_norm", *JOINS) or len(computed) != 1:
        return None
    target = nodes[computed[0]]
    if not isinstance(target.operator, Conv | ConvTranspose | Linear):
        return None
    same = {target.name} | {old for old, new in renamed.items() if new == target.name}
    readers = [n for n in network.nodes if same.intersection(n.inputs) and n.name not in renamed]
    if len(readers) != 1 or same.intersection(network.outputs):
        return None
    return target


def _affine(node: Node, target: Node, nodes: dict[str, Node], network: Network) -> Affine | None:
    """Scale and shift (channels,) that a node means for the layer before it, or None."""
    channels = _channels(target.operator)
    ones, zeros = torch.ones(channels), torch.zeros(channels)
    if isinstance(node.operator, BatchNorm):
        b = node.operator
        if isinstance(target.operator, Linear) and len(tensor_shapes(network)[target.name]) != 2:
            return None  # Batch norm scales axis 1, which is not the one that a linear layer writes.
        scale = b.scale.detach() / torch.sqrt(b.var + b.eps)
        return scale, b.shift.detach() - b.mean * scale
    first = nodes[node.inputs[0]].kind == "constant"
    value = nodes[node.inputs[0 if first else 1]].operator.state_dict()["value"]
    constant = _per_channel(value, target.operator, channels)
    if constant is None or (first and node.kind == "div"):
        return None
    if node.kind == "add":
        return ones, constant
    if node.kind == "sub":
        return (-ones, constant) if first else (ones, -constant)
    return (constant, zeros) if node.kind == "mul" else (1 / constant, zeros)


def _channels(operator: Operator) -> int:
    weight: Tensor = operator.weight  # type: ignore[assignment]
    if isinstance(operator, ConvTranspose):
        return weight.shape[1] * operator.groups
    return weight.shape[0]


def _per_channel(value: Tensor, operator: Operator, channels: int) -> Tensor | None:
    """Constant as (channels,) where it is one number or one for each channel, else None."""
    if value.dim() > (2 if isinstance(operator, Linear) else operator.state_dict()["weight"].dim()):
        return None  # It may give the output another axis.
    if value.numel() == 1:
        return value.reshape(1).expand(channels).clone()
    if isinstance(operator, Linear):
        # A linear layer's channels lie on the last axis.
        return value.reshape(-1) if value.numel() == channels == value.shape[-1] else None
    weight: Tensor = operator.weight  # type: ignore[assignment]
    shape = [1] * (weight.dim() - value.dim()) + list(value.shape)
    fits = value.numel() == channels and shape[1] == channels
    return value.reshape(-1) if fits else None


def _scaled(operator: Operator, scale: Tensor, shift: Tensor) -> Operator:
    """Layer whose output is `scale * y + shift` of the old one's."""
    weight: Tensor = operator.weight.detach()  # type: ignore[operator]
    old: Tensor | None = operator.bias  # type: ignore[assignment]
    bias = shift if old is None else old.detach() * scale + shift
    if isinstance(operator, Linear):
        return Linear(weight * scale[:, None], bias)
    if isinstance(operator, ConvTranspose):
        inputs, outputs = weight.shape[:2]
        per = scale.reshape(operator.groups, outputs).repeat_interleave(inputs // operator.groups, 0)
        wide = weight * per.reshape(inputs, outputs, *[1] * (weight.dim() - 2))
        return ConvTranspose(
            wide, bias, operator.stride, operator.pads, operator.output_padding, operator.dilation, operator.groups
        )
    assert isinstance(operator, Conv)
    wide = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    return Conv(wide, bias, operator.stride, operator.pads, operator.dilation, operator.groups)
