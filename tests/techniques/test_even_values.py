"""Evenly spaced shared values: by hand, within their error, smaller than k-means behind a Huffman code."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.encoding import Codebook, Coded, Dense, Encoding, Sparse, innermost
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext
from studio.techniques._even_values import MOST, Sizes, widest_step


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(5, shape).astype(np.float32)


def share(before: Encoding, peers: dict[str, np.ndarray] | None = None, **values: object) -> Encoding:
    layer = Layer("conv1", "conv1", "conv", "", (), (), (1, 8), before.shape, 0, 0, 0, "conv1")
    step = Step("share_weights", **{"limit": "error", **values})
    found: Encoding = step.found.encode(before, step.values, EncodeContext(layer, peers or {}))  # type: ignore[attr-defined]
    return found


def loss(weight: np.ndarray, found: Encoding) -> float:
    error = np.square(found.decode().astype(np.float64) - weight).sum()
    return float(error / np.square(weight, dtype=np.float64).sum())


def test_the_error_of_a_step_by_hand() -> None:
    # Step 2: 0.9 falls to 0, -1.5 and 3.1 to two and four, 5 (a tie) within one of either side.
    sizes = Sizes(np.array([0.9, -1.5, 3.1, 5, 0], np.float32))
    assert sizes.error(2.0) == pytest.approx(0.81 + 0.25 + 0.81 + 1, rel=1e-6)
    # Beyond 127 steps a weight takes the last value.
    assert Sizes(np.array([130.0], np.float32)).error(1.0) == pytest.approx(9)


@settings(deadline=None)
@given(st.integers(0, 99), st.floats(1e-3, 2))
def test_the_error_of_a_step_is_that_of_rounding(seed: int, step: float) -> None:
    weight = weights(seed, 300)
    rounded = step * np.clip(np.rint(weight.astype(np.float64) / step), -MOST, MOST)
    assert Sizes(weight).error(step) == pytest.approx(np.square(rounded - weight).sum(), rel=1e-4, abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 99), st.floats(0.001, 0.5))
def test_the_step_is_as_wide_as_the_error_allows(seed: int, allowed: float) -> None:
    weight = weights(seed, 500)
    step = float(widest_step(weight, allowed))
    sizes = Sizes(weight)
    assert sizes.error(step) <= allowed * sizes.energy * (1 + 1e-4)
    assert sizes.error(1.001 * step) > allowed * sizes.energy * (1 - 1e-4)


def test_an_error_of_nothing_takes_all_eight_bits() -> None:
    weight = np.random.default_rng(1).uniform(-1, 1, (64, 64)).astype(np.float32)
    found = share(Dense(weight), error=0)
    book = innermost(found)
    assert isinstance(book, Codebook)
    assert book.width == 8
    assert np.abs(found.decode() - weight).max() <= 0.5001 * np.abs(weight).max() / MOST


def test_values_are_zero_first_and_then_the_multiples_that_occur() -> None:
    # Two different weights, and no zero: the table is zero and two multiples whatever the step.
    weight = np.repeat(np.array([[1.0], [-3.0]], np.float32), 64, 1)
    book = innermost(share(Dense(weight), error=0.001))
    assert isinstance(book, Codebook)
    assert book.entries == 3
    assert book.centroids[0, 0] == 0
    assert book.width == 2
    assert loss(weight, book) <= 0.001 * 1.0001


def test_a_layers_part_of_the_error_grows_with_it() -> None:
    small, large = weights(2, 16, 64), weights(3, 48, 64)
    peers = {"conv1": small, "other": large}
    assert loss(small, share(Dense(small), peers, error=0.08)) == pytest.approx(0.02, rel=0.01)
    assert loss(large, share(Dense(large), peers, error=0.08)) == pytest.approx(0.06, rel=0.01)
    assert loss(small, share(Dense(small), error=0.08)) == pytest.approx(0.08, rel=0.01)


@pytest.mark.parametrize("centroid_bits", [8, 16, 32])
@pytest.mark.parametrize("blocks", [1, 3])
def test_each_block_has_a_step_of_its_own(centroid_bits: int, blocks: int) -> None:
    weight = weights(4, 24, 90) * np.repeat(np.float32([1, 10, 100]), 8)[:, None]
    found = share(Dense(weight), error=0.02, blocks=blocks, centroid_bits=centroid_bits)
    book = innermost(found)
    assert isinstance(book, Codebook)
    assert (book.blocks, book.centroids.dtype.itemsize) == (blocks, centroid_bits // 8)
    assert loss(weight, found) <= 0.0201
    lost = [loss(weight[at : at + 8], Dense(found.decode()[at : at + 8])) for at in (0, 8, 16)]
    assert (max(lost) < 0.0201) == (blocks == 3)  # with one step the smallest filters lose all


def test_pruned_weights_stay_zero_and_cost_no_error() -> None:
    weight = weights(5, 32, 64)
    mask = np.abs(weight) > 1
    pruned = np.where(mask, weight, np.float32(0))
    found = share(Sparse(mask, Dense(weight)), error=0.03)
    assert isinstance(found, Sparse)
    assert not found.decode()[~mask].any()
    assert loss(pruned, found) == pytest.approx(0.03, rel=0.02)
    assert not share(Dense(np.zeros((32, 64), np.float32)), error=0.03).decode().any()


@pytest.mark.parametrize("seed", range(3))
def test_behind_a_huffman_code_even_values_are_smaller_than_k_means_of_the_same_error(seed: int) -> None:
    weight = weights(seed, 128, 128)
    clustered = Step("share_weights", bits=4)
    layer = Layer("fc", "fc", "linear", "", (), (), (1, 8), weight.shape, 0, 0, 0, "fc")
    other: Encoding = clustered.found.encode(Dense(weight), clustered.values, EncodeContext(layer))  # type: ignore[attr-defined]
    found = share(Dense(weight), error=loss(weight, other))
    assert loss(weight, found) <= loss(weight, other) * 1.0001
    assert Coded(found).bits() < 0.97 * Coded(other).bits()


def test_the_largest_layer_takes_less_than_a_hundred_milliseconds() -> None:
    weight = Dense(weights(9, 1024, 1074))
    times = []
    for _ in range(3):
        began = time.process_time()
        share(weight, error=0.05).bits()
        times.append(time.process_time() - began)
    assert min(times) < 0.1  # about 0.04 measured
