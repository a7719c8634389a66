"""Rows and lanes of the graph view on graphs whose drawing is known by hand."""

from __future__ import annotations

import itertools

from studio.core.graph import Graph, Layer
from studio.desktop.network.lanes import lanes_of
from studio.desktop.network.rows import rows_of


def graph(*nodes: tuple[str, str, tuple[str, ...]]) -> Graph:
    shape = (1, 4, 8, 8)
    layers = tuple(
        Layer(n, n, kind, kind, inputs, (shape,) * len(inputs), shape, (4, 4, 3, 3) if kind == "conv" else None,
              0, 0, 0, n if kind == "conv" else None)
        for n, kind, inputs in nodes
    )  # fmt: skip
    return Graph("net", layers, (layers[-1].name,), 0)


RESIDUAL = graph(
    ("input", "input", ()),
    ("conv1", "conv", ("input",)),
    ("relu1", "relu", ("conv1",)),
    ("block.conv1", "conv", ("relu1",)),
    ("block.relu1", "relu", ("block.conv1",)),
    ("block.conv2", "conv", ("block.relu1",)),
    ("block.down", "conv", ("relu1",)),
    ("block.add", "add", ("block.conv2", "block.down")),
    ("block.relu2", "relu", ("block.add",)),
    ("fc", "conv", ("block.relu2",)),
)


def test_an_activation_shares_the_row_of_its_layer() -> None:
    rows = rows_of(RESIDUAL)
    assert [row.title for row in rows] == [
        "input", "conv1", "block", "block.conv1", "block.conv2", "block.down", "block.add", "fc",
    ]  # fmt: skip
    assert [layer.name for layer in rows[1].layers] == ["conv1", "relu1"]
    assert [row.kind for row in rows] == ["slim", "card", "header", "card", "card", "card", "slim", "card"]


def test_a_side_branch_sits_on_its_own_lane() -> None:
    lanes = lanes_of(RESIDUAL, rows_of(RESIDUAL))
    assert lanes.of_row == (0, 0, None, 0, 0, 1, 0, 0)
    (line,) = lanes.lines
    assert (line.lane, line.start, line.end, line.stops) == (1, 1, 6, (5,))


def test_a_collapsed_block_is_one_row_on_the_spine() -> None:
    rows = rows_of(RESIDUAL, frozenset({"block"}))
    assert [(row.kind, row.title) for row in rows][2] == ("block", "block")
    assert len(rows) == 4
    assert lanes_of(RESIDUAL, rows).of_row == (0, 0, 0, 0)


def test_lines_that_overlap_never_share_a_lane() -> None:
    names = [f"n{i}" for i in range(12)]
    nodes = [("n0", "conv", ())]
    nodes += [(n, "conv", tuple(names[j] for j in {i - 1, max(0, i - 3), 0})) for i, n in enumerate(names) if i]
    dense = graph(*nodes)
    lines = lanes_of(dense, rows_of(dense)).lines
    for a, b in itertools.combinations(lines, 2):
        assert a.lane != b.lane or a.end <= b.start or b.end <= a.start
