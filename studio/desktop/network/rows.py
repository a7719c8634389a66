"""The graph as rows: one row a layer in topological order, blocks that collapse by name path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from studio.core.graph import Graph, Layer

ACTIVATIONS = ("relu", "leaky_relu", "prelu", "clip", "sigmoid", "hard_sigmoid", "hard_swish", "tanh")
SMALLEST_BLOCK = 2
"""Weighted layers that make a name path a block."""


@dataclass(frozen=True)
class Row:
    """One row of the graph view.

    `card`: a weighted layer; `slim`: a layer without weights; `header`: an open block's title;
    `block`: a collapsed block. `layers`: all layers that the row stands for, the first gives its name.
    """

    kind: Literal["card", "slim", "header", "block"]
    title: str
    layers: tuple[Layer, ...]
    block: str | None  # block that the row lies in

    @property
    def name(self) -> str:
        """Name by which rows are found again."""
        return f"{self.kind} {self.title}" if self.kind in ("header", "block") else self.layers[0].name


def rows_of(graph: Graph, collapsed: frozenset[str] = frozenset()) -> tuple[Row, ...]:
    """Rows of a graph; an activation behind a layer that nothing else reads shares that layer's row."""
    blocks = block_names(graph)
    rows: list[Row] = []
    open_block: str | None = None
    for group in merged(graph):
        block = blocks.get(group[0].name)
        if block != open_block:
            open_block = block
            if block is not None:
                inside = tuple(layer for layer in graph.layers if blocks.get(layer.name) == block)
                rows.append(Row("block" if block in collapsed else "header", block, inside, block))
        if block is None or block not in collapsed:
            kind: Literal["card", "slim"] = "card" if group[0].weighted else "slim"
            rows.append(Row(kind, group[0].name, group, block))
    return tuple(rows)


def merged(graph: Graph) -> list[tuple[Layer, ...]]:
    """Layers with the activations that belong to them, in graph order."""
    readers = Counter(name for layer in graph.layers for name in layer.inputs)
    owner: dict[str, int] = {}
    groups: list[list[Layer]] = []
    for layer in graph.layers:
        source = layer.inputs[0] if layer.inputs else ""
        joins = layer.kind in ACTIVATIONS and readers[source] == 1 and source not in graph.outputs
        if joins and source in owner and groups[owner[source]][0].kind != "input":
            owner[layer.name] = owner[source]
            groups[owner[source]].append(layer)
        else:
            owner[layer.name] = len(groups)
            groups.append([layer])
    return [tuple(group) for group in groups]


def block_names(graph: Graph) -> Mapping[str, str]:
    """Block of each layer: the first part of a dotted name that several weighted layers next to each other share."""
    first = {layer.name: layer.name.split(".")[0] for layer in graph.layers if "." in layer.name}
    weighted = Counter(first[layer.name] for layer in graph.weighted if layer.name in first)
    kept: dict[str, str] = {}
    ended: set[str] = set()
    last: str | None = None
    for group in merged(graph):
        block = first.get(group[0].name)
        if block is None or weighted[block] < SMALLEST_BLOCK or block in ended:
            block = None
        if last is not None and block != last:
            ended.add(last)
        last = block
        if block is not None:
            kept.update({layer.name: block for layer in group})
    return kept
