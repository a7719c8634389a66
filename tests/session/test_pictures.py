"""Plots of a session as files."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.encoding import Codebook, Dense, Encoding, Grid, Sparse
from studio.core.plan import Step
from studio.session import demo
from studio.session.layer_parts import value_levels
from studio.session.pictures import pictures, points


def grid_levels(encoding: Encoding) -> list[float]:
    """Levels as the picture shows them: of the median channel."""
    found: list[float] = value_levels(encoding, np.median).tolist()
    return found


def test_levels_of_a_grid_by_hand() -> None:
    grid = Grid(np.array([[1], [-1], [0]], np.int8), np.array([0.5, 2, 0.1], np.float32), 0, 2)
    assert grid_levels(grid) == [-0.5, 0, 0.5]
    assert grid_levels(Sparse(grid.q != 0, grid)) == [-0.5, 0, 0.5]
    assert grid_levels(Dense(np.ones((1, 1), np.float32))) == []
    assert grid_levels(Grid(np.ones((1, 1), np.int8), np.full(1, 3, np.float32), None, 1)) == [-3, 3]
    assert sorted(grid_levels(Grid(grid.q, grid.scale, 0, 3, True))) == [-2, -1, -0.5, 0, 0.5, 1, 2]
    book = Codebook(np.zeros((1, 1), np.uint8), np.array([[4, -2, 0]], np.int8), np.full(1, 0.5, np.float32), 2)
    assert grid_levels(book) == [-1, 0, 2]


def test_pictures_show_complete_measurements_only() -> None:
    session = demo.open_demo()
    try:
        session.apply([layer.name for layer in session.graph.weighted], Step("quantize"))
        session.wait()
        kinds = {point.kind: point for point in points(session)}
        assert kinds.keys() == {"float", "now"}
        assert kinds["now"].flash_bytes == session.cost.flash_bytes
        assert kinds["now"].value == pytest.approx(session.measured[session.plan.key].result.value)
        assert kinds["float"].flash_bytes == session.float_cost.flash_bytes
        found = pictures(session)
        assert found.keys() == {"tradeoff.png", "weights.png", "importance.png"}
        assert all(content.startswith(b"\x89PNG") for content in found.values())
    finally:
        session.close()
