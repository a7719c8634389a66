"""The model in memory: ordered, named nodes of the closed operator set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studio.network.operators import Operator


@dataclass(frozen=True, eq=False)
class Node:
    """One operator with one output tensor; the tensor carries the node's name."""

    name: str
    source: str  # the file's own name
    inputs: tuple[str, ...]  # names of nodes
    operator: Operator

    @property
    def kind(self) -> str:
        """Name in the closed operator set."""
        return self.operator.kind


class Network(nn.Module):
    """Nodes in topological order (the file's), float32, evaluation mode, no gradients unless asked.

    `free_batch` is False where the file's batch of 1 cannot be freed: samples then run singly.
    Nodes are replaced, never edited: `with_nodes` makes a new network that shares all other tensors.
    """

    def __init__(self, name: str, nodes: Sequence[Node], outputs: Sequence[str], free_batch: bool = True) -> None:
        super().__init__()
        self.name = name
        self.nodes = tuple(nodes)
        self.outputs = tuple(outputs)
        self.free_batch = free_batch
        self._modules_list = nn.ModuleList(node.operator for node in self.nodes)
        self.by_name: dict[str, Node] = {node.name: node for node in self.nodes}
        self.requires_grad_(False)
        self.eval()

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Input nodes in the file's order."""
        return tuple(node for node in self.nodes if node.kind == "input")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input with a batch of 1."""
        shape: tuple[int, ...] = self.inputs[0].operator.shape  # type: ignore[assignment]
        return shape

    def with_nodes(self, nodes: Sequence[Node], outputs: Sequence[str] | None = None) -> Network:
        """Return a new network; nodes that stay are shared."""
        return Network(self.name, nodes, outputs or self.outputs, self.free_batch)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Nodes that read the tensor `name`."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the file's order for a batch of N samples."""
        if not self.free_batch and len(x[0]) > 1:
            rows = [self.run(tuple(t[i : i + 1] for t in x)) for i in range(len(x[0]))]
            return tuple(torch.cat([row[name] for row in rows]) for name in self.outputs)
        values = self.run(x)
        return tuple(values[name] for name in self.outputs)

    def run(
        self, x: Sequence[Tensor], visit: Callable[[Node, Tensor], Any] | None = None, keep: Sequence[str] | None = None
    ) -> Mapping[str, Tensor]:
        """Run one batch; `visit` sees every output tensor, only outputs and `keep` stay in the answer."""
        wanted = set(self.outputs) | set(keep or ())
        last = {name: i for i, node in enumerate(self.nodes) for name in node.inputs}
        values: dict[str, Tensor] = {}
        feed = iter(x)
        with torch.no_grad():
            for i, node in enumerate(self.nodes):
                arguments = [next(feed)] if node.kind == "input" else [values[name] for name in node.inputs]
                values[node.name] = node.operator(*arguments)
                if visit:
                    visit(node, values[node.name])
                for name in node.inputs:
                    if last[name] == i and name not in wanted:
                        values.pop(name, None)
        return {name: values[name] for name in wanted}
