"""Each criterion against an independent computation: plain loops, or scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from studio.core import registry
from studio.core.graph import Layer
from studio.criteria import ChannelStatistics, global_threshold, group_score

NAMES = ("apoz", "l1", "l2", "magnitude", "mean_activation", "similarity")
SHAPES = ((6, 3, 3, 3), (5, 1, 3, 3), (7, 11), (4, 2, 5))


def layer(**changes: object) -> Layer:
    facts: dict[str, object] = {
        "name": "conv1", "source": "conv1", "kind": "conv", "detail": "", "inputs": (), "input_shapes": (),
        "output_shape": (1, 6, 4, 4), "weight_shape": (6, 3, 3, 3), "parameters": 1, "macs": 1,
        "activation_bytes": 1, "group": None, "rectified": True,
    }  # fmt: skip
    return Layer(**{**facts, **changes})  # type: ignore[arg-type]


def weight(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def filters(w: np.ndarray) -> list[list[float]]:
    return [[float(v) for v in channel.ravel()] for channel in w]


def test_all_criteria_are_registered() -> None:
    assert set(NAMES) <= set(registry.names("criteria"))
    for name in NAMES:
        criterion = registry.find("criteria", name)
        assert criterion.name == name
        assert criterion.needs <= {"activations", "labels", "measurement"}
        assert criterion.title
        assert criterion.help.endswith(".")


@pytest.mark.parametrize("shape", SHAPES)
def test_l1_and_l2_by_loops(shape: tuple[int, ...]) -> None:
    w = weight(shape)
    l1 = [math.fsum(abs(v) for v in row) / len(row) for row in filters(w)]
    l2 = [math.sqrt(math.fsum(v * v for v in row) / len(row)) for row in filters(w)]
    assert registry.find("criteria", "l1").channels(w) == pytest.approx(l1)
    assert registry.find("criteria", "l2").channels(w) == pytest.approx(l2)


@pytest.mark.parametrize("shape", SHAPES)
def test_magnitude_counts_weights_above_the_networks_median(shape: tuple[int, ...]) -> None:
    w, other = weight(shape), 3 * weight((9, 9), 1)
    threshold = global_threshold([w, other])
    everything = sorted(abs(v) for row in (*filters(w), *filters(other)) for v in row)
    middle = len(everything) // 2
    median = everything[middle] if len(everything) % 2 else (everything[middle - 1] + everything[middle]) / 2
    assert threshold == pytest.approx(median)
    expected = [sum(abs(v) > threshold for v in row) / len(row) for row in filters(w)]
    found = registry.find("criteria", "magnitude").channels(w, ChannelStatistics(threshold=threshold))
    assert found == pytest.approx(expected)


def test_magnitude_alone_takes_its_own_median() -> None:
    w = np.array([[1, 2], [-3, 4]], dtype=np.float32)
    assert registry.find("criteria", "magnitude").channels(w).tolist() == [0.0, 1.0]


def test_single_weights() -> None:
    w = weight((3, 2, 2, 2))
    assert np.array_equal(registry.find("criteria", "magnitude").weights(w), np.abs(w).astype(np.float64))
    for name in NAMES:
        criterion = registry.find("criteria", name)
        scores = criterion.weights(w)
        assert (scores is not None) == criterion.scores_weights
        if scores is not None:
            # The order of single weights is that of their size.
            assert np.array_equal(np.argsort(scores.ravel()), np.argsort(np.abs(w).ravel()))


def test_activation_criteria_read_the_statistics() -> None:
    w = weight((3, 2))
    seen = ChannelStatistics(np.array([0.1, 2.0, 0.0]), np.array([0.75, 0.0, 1.0]), 9)
    assert registry.find("criteria", "mean_activation").channels(w, seen).tolist() == [0.1, 2.0, 0.0]
    assert registry.find("criteria", "apoz").channels(w, seen).tolist() == [0.25, 1.0, 0.0]
    for name in ("mean_activation", "apoz"):
        with pytest.raises(ValueError, match="statistics"):
            registry.find("criteria", name).channels(w)


@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_against_scikit_learn(shape: tuple[int, ...]) -> None:
    w = weight(shape)
    cosine = np.abs(cosine_similarity(w.reshape(len(w), -1).astype(np.float64)))
    expected = [1 - max(cosine[c, j] for j in range(len(w)) if j != c) for c in range(len(w))]
    assert registry.find("criteria", "similarity").channels(w) == pytest.approx(expected, abs=2e-6)


def test_of_filters_that_repeat_each_other_the_largest_is_kept() -> None:
    a, b = np.array([1.0, 2, 2]), np.array([2.0, 1, -2])  # at right angles
    w = np.stack([a, -3 * a, b, 2 * a, 0 * a]).astype(np.float32)
    scores = registry.find("criteria", "similarity").channels(w)
    assert scores[2] == pytest.approx(1.0)
    assert scores[4] == 0.0
    assert 0 < scores[0] < scores[3] < scores[1] < 1e-5


def test_a_single_filter_repeats_nothing() -> None:
    assert registry.find("criteria", "similarity").channels(weight((1, 4))).tolist() == [1.0]


@pytest.mark.parametrize("name", NAMES)
def test_layers_without_weights_are_refused_with_a_sentence(name: str) -> None:
    criterion = registry.find("criteria", name)
    assert criterion.refuses(layer()) is None
    reason = criterion.refuses(layer(kind="add", weight_shape=None))
    assert reason == "conv1 has no weights."


def test_apoz_needs_a_relu() -> None:
    assert "No ReLU follows conv1" in registry.find("criteria", "apoz").refuses(layer(rectified=False))


@given(st.lists(st.floats(0.1, 1e3), min_size=3, max_size=3), st.floats(1e-3, 1e3))
def test_a_group_weighs_its_layers_alike(scores: list[float], factor: float) -> None:
    one, other = np.array(scores), np.array([1.0, 2.0, 6.0])
    mean = sum(scores) / 3
    expected = [(s / mean + o / 3) / 2 for s, o in zip(scores, other.tolist(), strict=True)]
    assert group_score([one * factor, other]) == pytest.approx(expected)


def test_a_layer_of_zeros_sways_no_group() -> None:
    both = group_score([np.zeros(3), np.array([1.0, 2.0, 3.0])])
    assert both.tolist() == [0.75, 1.0, 1.25]


@pytest.mark.parametrize("name", NAMES)
def test_scores_follow_a_permutation_of_channels_and_touch_nothing(name: str) -> None:
    w = weight((5, 2, 3, 3))
    before = w.copy()
    seen = ChannelStatistics(np.arange(5.0), np.arange(5.0) / 5, 3, 0.5)
    criterion = registry.find("criteria", name)
    scores = criterion.channels(w, seen)
    assert scores.dtype == np.float64
    assert scores.shape == (5,)
    order = [3, 0, 4, 1, 2]
    moved = ChannelStatistics(seen.mean_absolute[order], seen.zeros[order], 3, 0.5)  # type: ignore[index]
    assert criterion.channels(w[order], moved) == pytest.approx(scores[order], abs=2e-6)
    assert np.array_equal(w, before)


def test_criteria_never_depend_on_the_order_of_places() -> None:
    w = weight((4, 3, 3, 3))
    turned = w[:, ::-1, ::-1, ::-1]
    for name, pair in itertools.product(("l1", "l2", "magnitude", "similarity"), [(w, turned)]):
        criterion = registry.find("criteria", name)
        assert criterion.channels(pair[0]) == pytest.approx(criterion.channels(pair[1]))


def test_sensitivity_is_one_score_for_all_channels_and_needs_a_measurement() -> None:
    criterion = registry.find("criteria", "sensitivity")
    w = weight((6, 3, 3, 3))
    assert criterion.channels(w, ChannelStatistics(drop=0.25)).tolist() == [0.25] * 6
    with pytest.raises(ValueError, match="measurement"):
        criterion.channels(w, ChannelStatistics())
