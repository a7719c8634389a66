"""A folded Network as a torch module of plain torch layers, for tools that cut such modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node


class PeerModule(nn.Module):
    """Same function as the network. Padded channels (option A) become a 1x1 convolution that copies.

    Torch-Pruning cannot follow a padding along channels (it ends in an IndexError); so it can.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.nodes, self.last = network.nodes, network.outputs[0]
        made = {node.name: _layer(node, network) for node in network.nodes}
        self.layers = nn.ModuleDict({_key(name): layer for name, layer in made.items() if layer is not None})

    def forward(self, x: Tensor) -> Tensor:
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            inputs = [x] if node.kind == "input" else [values[name] for name in node.inputs]
            values[node.name] = self._run(node, inputs)
        return values[self.last]

    def _run(self, node: Node, inputs: list[Tensor]) -> Tensor:
        if isinstance(node.operator, plain.Reshape):
            return inputs[0].flatten(1)  # a fixed shape would not fit once channels are cut
        if _key(node.name) not in self.layers:
            return node.operator(*inputs)
        if isinstance(node.operator, op.Conv):
            begins, ends = node.operator.pads[:2], node.operator.pads[2:]
            if begins != ends:
                inputs = [functional.pad(inputs[0], (begins[1], ends[1], begins[0], ends[0]))]
        return self.layers[_key(node.name)](inputs[0])

    @property
    def outputs(self) -> list[nn.Module]:
        """Layers that give the classes: never cut."""
        return [layer for layer in self.layers.values() if isinstance(layer, nn.Linear)]


def _key(name: str) -> str:
    return name.replace(".", "__")


def _layer(node: Node, network: Network) -> nn.Module | None:
    operator: Any = node.operator
    if isinstance(operator, op.Conv):
        out, into = operator.weight.shape[0], operator.weight.shape[1] * operator.groups
        even = operator.pads[:2] == operator.pads[2:]
        layer: nn.Module = nn.Conv2d(
            into, out, tuple(operator.weight.shape[2:]), operator.stride, operator.pads[:2] if even else 0,
            operator.dilation, operator.groups, operator.bias is not None,
        )  # fmt: skip
    elif isinstance(operator, op.Linear):
        layer = nn.Linear(operator.weight.shape[1], operator.weight.shape[0], operator.bias is not None)
    elif isinstance(operator, plain.Pad):
        return _copying(operator, network, node)
    else:
        return None
    layer.load_state_dict(operator.state_dict())
    return layer


def _copying(pad: plain.Pad, network: Network, node: Node) -> nn.Module:
    from studio.network.shapes import tensor_shapes

    shapes = tensor_shapes(network)
    into, out = shapes[node.inputs[0]][1], shapes[node.name][1]
    layer = nn.Conv2d(into, out, 1, bias=False)
    weight = torch.zeros(out, into, 1, 1)
    weight[pad.pads[1] : pad.pads[1] + into, :, 0, 0] = torch.eye(into)
    layer.weight = nn.Parameter(weight)
    return layer
