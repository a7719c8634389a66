"""Numbers behind the views of one layer, by hand or by other code."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.encoding import Codebook, Coded, Dense, Grid, Sparse
from studio.session.code_view import code_view
from studio.session.layer_parts import mosaic, value_levels


def grid(q: list[int], width: int, scale: float = 0.5) -> Grid:
    return Grid(np.array(q, np.int8).reshape(1, -1), np.array([scale], np.float32), None, width)


def test_symbols_by_hand() -> None:
    view = code_view(grid([1] * 8 + [-1] * 4 + [2] * 2 + [3] * 2, 3))
    assert view is not None
    assert view.symbols.tolist() == [1, -1, 2, 3]
    assert view.counts.tolist() == [8, 4, 2, 2]
    assert view.lengths.tolist() == [1, 2, 3, 3]
    assert view.entropy == pytest.approx(1.75)  # shares of powers of two: Huffman reaches the entropy
    assert view.mean_length == pytest.approx(1.75)
    assert not view.coded


def test_coded_layer_tells_its_own_code() -> None:
    rng = np.random.default_rng(0)
    q = np.clip(np.rint(rng.normal(0, 2, (32, 64))), -7, 7).astype(np.int8)
    encoding = Coded(Grid(q, np.ones(1, np.float32), None, 4))
    view = code_view(encoding)
    assert view is not None
    assert view.coded
    assert view.entropy <= view.mean_length < view.entropy + 1
    assert view.bits_per_weight == 8 * len(encoding.pack()) / q.size
    assert view.counts.sum() == q.size
    assert dict(zip(view.symbols.tolist(), view.counts.tolist(), strict=True)) == {
        int(v): int(n) for v, n in zip(*np.unique(q, return_counts=True), strict=True)
    }


def test_pruned_weights_need_no_symbol() -> None:
    rng = np.random.default_rng(1)
    q = rng.integers(1, 8, (40, 50)).astype(np.int8)
    mask = rng.random(q.shape) < 0.05
    encoding = Coded(Sparse(mask, Grid(q, np.ones(1, np.float32), None, 4)))
    view = code_view(encoding)
    assert view is not None
    assert view.counts.sum() == mask.sum()
    assert view.weights == q.size


def test_float_weights_have_no_symbols() -> None:
    assert code_view(Dense(np.ones((2, 3), np.float32))) is None


def test_levels_of_grids_and_codebooks() -> None:
    assert value_levels(grid([1, -1], 3)).tolist() == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    assert value_levels(grid([1, -1], 1)).tolist() == [-0.5, 0.5]
    power = Grid(np.array([[4, -1]], np.int8), np.array([0.5], np.float32), None, 3, power_of_two=True)
    assert value_levels(power).tolist() == [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]
    book = Codebook(np.zeros((2, 2), np.uint8), np.array([[0.25, -1.0]], np.float32), None, 1)
    assert value_levels(Coded(book)).tolist() == [-1.0, 0.25]
    assert value_levels(None).size == 0


def test_mosaic_places_kernels() -> None:
    weight = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    picture = mosaic(weight)
    assert picture.shape == (5, 8)
    assert np.array_equal(picture[3:5, 6:8], weight[1, 2])
    assert np.isnan(picture[2]).all()
    assert np.array_equal(mosaic(weight.swapaxes(0, 1), 1), picture, equal_nan=True)


def test_mosaic_of_a_matrix_is_itself() -> None:
    weight = np.ones((100, 10), np.float32)
    assert mosaic(weight).shape == (64, 10)
    assert mosaic(np.ones((4, 5, 1, 1), np.float32)).shape == (4, 5)
