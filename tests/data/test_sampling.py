"""Order of samples: seeded, complete, and in proportion in every prefix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import DataError
from studio.data.sampling import balanced_order


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 5))
def test_every_prefix_holds_the_classes_in_proportion(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = balanced_order(len(labels), labels, seed)
    assert sorted(order) == list(range(len(labels)))
    for c, size in enumerate(sizes):
        found = np.cumsum(labels[order] == c)
        wanted = np.arange(1, len(labels) + 1) * size / len(labels)
        assert np.abs(found - wanted).max() < 1


@pytest.mark.parametrize("labels", [None, np.repeat([3, 7], 50), np.zeros(100, dtype=int)])
def test_the_order_is_seeded_and_not_the_files(labels: np.ndarray | None) -> None:
    first = balanced_order(100, labels, 1)
    assert np.array_equal(first, balanced_order(100, labels, 1))
    assert not np.array_equal(first, balanced_order(100, labels, 2))
    assert (np.diff(first) < 0).sum() > 20


@pytest.mark.parametrize("labels", [None, np.repeat([3, 7, 8], [50, 30, 20]), np.zeros(100, dtype=int)])
def test_a_part_is_the_begin_of_the_whole(labels: np.ndarray | None) -> None:
    whole = balanced_order(100, labels, 1)
    for first in (0, 1, 37, 100, 300):
        assert np.array_equal(balanced_order(100, labels, 1, first), whole[:first])


def test_classes_do_not_follow_each_other_in_one_fixed_pattern() -> None:
    labels = np.repeat(np.arange(4), 100)
    rounds = labels[balanced_order(400, labels, 0)].reshape(100, 4)
    assert (np.sort(rounds, axis=1) == np.arange(4)).all()
    assert len(np.unique(rounds, axis=0)) > 10


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DataError, match="seed -1"):
        balanced_order(4, None, -1)
