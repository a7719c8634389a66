"""Lanes beside the rows, as in a git log: a straight spine, shortcuts and side branches to its left.

The spine is the longest path. Every side branch, and every edge that skips rows, is an interval of
rows; it takes the free lane nearest to the spine (greedy interval colouring, linear and stable).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.graph import Graph
from studio.desktop.network.rows import Row


@dataclass(frozen=True)
class Lane:
    """A line on lane `lane` from row `start` (where it leaves) to row `end` (where it joins).

    `stops`: rows in between whose node sits on this lane.
    """

    lane: int
    start: int
    end: int
    stops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Lanes:
    """Lane of each row's node (0 = spine, None = a header without a node), and the lines beside the spine."""

    of_row: tuple[int | None, ...]
    spine: tuple[int, int]  # first and last row of the spine
    lines: tuple[Lane, ...]
    width: int  # number of lanes


def lanes_of(graph: Graph, rows: Sequence[Row]) -> Lanes:
    """Lay out the lanes for rows in topological order."""
    sources = _sources(graph, rows)
    nodes = [i for i, row in enumerate(rows) if row.kind != "header"]
    if not nodes:
        return Lanes((), (0, 0), (), 0)
    spine = _longest_path(nodes, sources)
    on_spine = set(spine)
    before = dict(zip(spine[1:], spine, strict=False))
    taken: set[int] = set(on_spine)
    spans: list[tuple[int, int, tuple[int, ...]]] = []
    for chain in _chains([i for i in nodes if i not in on_spine], sources):
        taken.update(chain)
        into = [i for i in nodes if chain[-1] in sources[i]]
        spans.append((min(sources[chain[0]], default=chain[0]), max(into, default=chain[-1]), tuple(chain)))
    drawn = {(a, b) for start, end, chain in spans for a, b in zip((start, *chain), (*chain, end), strict=True)}
    skips: dict[int, int] = {}
    for end in nodes:
        for start in sources[end]:
            if (start, end) not in drawn and before.get(end) != start:
                skips[start] = max(end, skips.get(start, end))
    spans += [(start, end, ()) for start, end in skips.items()]
    lines = _colour(spans)
    lane = dict.fromkeys(spine, 0) | {stop: line.lane for line in lines for stop in line.stops}
    width = 1 + max((line.lane for line in lines), default=0)
    return Lanes(tuple(lane.get(i) for i in range(len(rows))), (spine[0], spine[-1]), tuple(lines), width)


def _sources(graph: Graph, rows: Sequence[Row]) -> list[list[int]]:
    """For each row the rows that it reads, without itself; constants are no rows of the drawing."""
    row_of = {layer.name: i for i, row in enumerate(rows) if row.kind != "header" for layer in row.layers}
    found: list[list[int]] = [[] for _ in rows]
    for layer in graph.layers:
        here = row_of.get(layer.name)
        for name in layer.inputs:
            there = row_of.get(name)
            if here is not None and there is not None and there != here and there not in found[here]:
                found[here].append(there)
    return found


def _longest_path(nodes: Sequence[int], sources: Sequence[Sequence[int]]) -> list[int]:
    allowed = set(nodes)
    rank: dict[int, int] = {}
    best: dict[int, int] = {}
    for i in nodes:
        known = [s for s in sources[i] if s in allowed]
        if known:
            best[i] = max(known, key=lambda s: (rank[s], s))
        rank[i] = 1 + max((rank[s] for s in known), default=-1)
    at = max(nodes, key=lambda i: (rank[i], i))
    path = [at]
    while at in best:
        at = best[at]
        path.append(at)
    return path[::-1]


def _chains(nodes: list[int], sources: Sequence[Sequence[int]]) -> list[list[int]]:
    """Side branches: the longest path of what is left, again and again."""
    left = list(nodes)
    chains = []
    while left:
        chain = _longest_path(left, sources)
        chains.append(chain)
        inside = set(chain)
        left = [i for i in left if i not in inside]
    return chains


def _colour(spans: list[tuple[int, int, tuple[int, ...]]]) -> list[Lane]:
    ends: list[int] = []  # last row used on lane 1, 2, ...
    lines = []
    for start, end, stops in sorted(spans, key=lambda s: (s[0], s[1])):
        lane = next((k for k, used in enumerate(ends) if used <= start), len(ends))
        if lane == len(ends):
            ends.append(end)
        ends[lane] = end
        lines.append(Lane(lane + 1, start, end, stops))
    return lines
