"""K-means against scikit-learn and by hand; what is stored; how long the slider takes."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from studio.core.encoding import Codebook, Dense, Encoding, Sparse, innermost
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext
from studio.techniques._kmeans import Sorted, lloyd, nearest, start


def layer(shape: tuple[int, ...], kind: str = "conv") -> Layer:
    return Layer("conv1", "conv1", kind, "", (), (), (1, 8), shape, 0, 0, 0, "conv1")


def share(weight: np.ndarray, mask: np.ndarray | None = None, kind: str = "conv", **values: object) -> Encoding:
    step = Step("share_weights", **values)
    before: Encoding = Dense(weight) if mask is None else Sparse(mask, Dense(weight))
    found: Encoding = step.found.encode(before, step.values, EncodeContext(layer(weight.shape, kind)))  # type: ignore[attr-defined]
    return found


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(5, shape).astype(np.float32)


def inertia(values: np.ndarray, centroids: np.ndarray) -> float:
    return float(np.square(values.reshape(-1, 1).astype(np.float64) - centroids.reshape(1, -1)).min(1).sum())


@pytest.mark.parametrize("k", [2, 5, 16, 32])
@pytest.mark.parametrize("how", ["quantile", "kmeans++", "linear"])
def test_lloyd_finds_what_scikit_learn_finds(k: int, how: str) -> None:
    # Uniform values: no cluster runs empty, where the two would differ.
    values = np.random.default_rng(k).uniform(-1, 2, 3000).astype(np.float32)
    data = Sorted(values)
    first = start(data, k, how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = KMeans(k, init=first.reshape(-1, 1), n_init=1, tol=0, max_iter=300, algorithm="lloyd")
        other.fit(values.reshape(-1, 1).astype(np.float64))
    ours = inertia(values, lloyd(data, first))
    assert ours == pytest.approx(other.inertia_, rel=1e-6)


def test_lloyd_by_hand() -> None:
    # Start 0, 10: {0, 1, 2} and {9, 11}: means 1 and 10, midpoint 5.5: nothing moves on.
    values = np.array([9, 0, 11, 2, 1], np.float32)
    assert lloyd(Sorted(values), np.array([0.0, 10.0])).tolist() == [1, 10]


def test_an_empty_cluster_takes_the_farthest_value() -> None:
    values = np.array([0, 1, 2, 100], np.float32)
    assert lloyd(Sorted(values), np.array([1.0, 50.0, 100.0])).tolist() == [0, 1.5, 100]


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 256), st.sampled_from(["linear", "quantile", "kmeans++"]))
def test_nearest_is_the_nearest(seed: int, k: int, how: str) -> None:
    values = weights(seed, 400)
    data = Sorted(values)
    centroids = lloyd(data, start(data, min(k, data.distinct), how))
    assert (np.diff(centroids) >= 0).all()
    found = nearest(values, centroids)
    borders = ((centroids[1:] + centroids[:-1]) / 2).astype(np.float32)
    assert (found == np.searchsorted(borders, values, "left")).all()


def test_more_bits_never_fit_worse() -> None:
    weight = weights(1, 16, 16, 3, 3)
    errors = [np.square(share(weight, bits=b, centroid_bits=32).decode() - weight).sum() for b in range(1, 9)]
    assert errors == sorted(errors, reverse=True)


def test_starts_by_hand() -> None:
    data = Sorted(np.array([0, 1, 2, 3, 4, 5, 6, 17], np.float32))
    assert start(data, 2, "linear").tolist() == [0, 17]
    assert start(data, 2, "quantile").tolist() == [2, 6]
    drawn = start(data, 8, "kmeans++")
    assert drawn.tolist() == [0, 1, 2, 3, 4, 5, 6, 17]  # a value drawn once has distance 0 and is not drawn again


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("centroid_bits", [8, 16, 32])
@pytest.mark.parametrize("blocks", [1, 3])
def test_what_is_stored(bits: int, centroid_bits: int, blocks: int) -> None:
    weight = weights(2, 24, 64, 3, 3)
    found = share(weight, bits=bits, centroid_bits=centroid_bits, blocks=blocks)
    assert isinstance(found, Codebook)
    assert found.centroids.dtype.itemsize == centroid_bits // 8
    assert found.width == bits
    assert found.blocks == blocks
    for block in range(blocks):
        part = found.decode()[8 * block : 8 * block + 8] if blocks > 1 else found.decode()
        assert len(np.unique(part)) <= 2**bits
    head = 1 + 1 + 4 + 2 + 1 + 1  # kind, rank and lengths, width and axis, block, entries
    scales = 0 if centroid_bits == 32 else 4 * blocks
    table = blocks * found.entries * centroid_bits // 8
    assert found.bits() // 8 == head + scales + table + -(-weight.size * bits // 8) + 4


def test_values_of_eight_bits_lie_within_half_a_step_of_the_exact_ones() -> None:
    weight = weights(3, 32, 32)
    exact, rounded = (innermost(share(weight, bits=3, centroid_bits=b)) for b in (32, 8))
    assert isinstance(exact, Codebook)
    assert isinstance(rounded, Codebook)
    assert rounded.scale is not None
    assert np.abs(exact.table - rounded.table).max() <= 0.501 * rounded.scale[0]


def test_zero_is_a_value_of_its_own_where_weights_are_pruned() -> None:
    weight = weights(4, 16, 16, 3, 3)
    mask = np.abs(weight) > 0.8
    found = share(weight, mask, bits=3)
    assert isinstance(found, Sparse)
    assert (found.mask == mask).all()
    book = innermost(found)
    assert isinstance(book, Codebook)
    assert book.centroids[0, 0] == 0
    assert (book.centroids[0, 1:] != 0).all()
    assert ((found.decode() != 0) == mask).all()


def test_one_bit_under_a_mask_has_both_signs() -> None:
    weight = weights(5, 16, 16, 3, 3)
    mask = np.abs(weight) > 0.8
    decoded = share(weight, mask, bits=1).decode()
    assert len(np.unique(decoded)) == 3
    assert (np.sign(decoded) == np.sign(np.where(mask, weight, 0))).all()


def test_dead_channels_stay_dead() -> None:
    weight = weights(6, 8, 16, 3, 3)
    weight[2] = 0
    for values in ({}, {"blocks": 4}, {"bits": 1}):
        assert not share(weight, **values).decode()[2].any()
    assert not share(np.zeros((8, 8), np.float32)).decode().any()


def test_a_kept_zero_stays_zero() -> None:
    # Pattern 2:4 keeps two of four weights of a dead channel.
    weight = weights(6, 8, 16, 3, 3)
    weight[2] = 0
    mask = np.zeros(weight.shape, np.bool_)
    mask[:, ::2] = True
    for bits in (1, 4):
        assert not share(np.where(mask, weight, np.float32(0)), mask, bits=bits).decode()[2].any()


def test_channels_of_a_transposed_convolution_lie_along_the_second_axis() -> None:
    weight = weights(7, 12, 6, 3, 3) * np.array([1, 100] * 3, np.float32).reshape(1, 6, 1, 1)
    book = share(weight, kind="conv_transpose", blocks=6, bits=4)
    assert isinstance(book, Codebook)
    assert (book.axis, book.block, book.blocks) == (1, 1, 6)
    error = np.square(book.decode() - weight).sum((0, 2, 3)) / np.square(weight).sum((0, 2, 3))
    assert error.max() < 0.02


def test_a_layer_too_small_for_a_table_stays_as_it_is() -> None:
    weight = weights(8, 2, 3)
    assert isinstance(share(weight, bits=8, centroid_bits=32), Dense)


def test_the_largest_layer_takes_less_than_a_hundred_milliseconds() -> None:
    weight = weights(9, 1024, 1074) / 50
    for how in ("linear", "quantile", "kmeans++"):
        times = []
        for _ in range(3):
            began = time.process_time()
            share(weight, bits=5, start=how).bits()
            times.append(time.process_time() - began)
        assert min(times) < 0.15, how  # about 0.06 measured
