"""Metrics against hand calculation and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from studio.core import metrics


def test_top1_takes_the_first_of_equal_maxima() -> None:
    outputs = np.array([[0, 2, 2], [5, 1, 0], [0, 0, 0]], np.float32)
    assert metrics.top1(outputs).tolist() == [1, 0, 0]
    assert metrics.top1(outputs.reshape(3, 3, 1, 1)).tolist() == [1, 0, 0]


@given(st.integers(1, 2000), st.data())
def test_wilson_equals_scipy(samples: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, samples))
    low, high = metrics.wilson(right / samples, samples)
    expected = binomtest(right, samples).proportion_ci(0.95, "wilson")
    assert low == pytest.approx(expected.low, abs=1e-6)
    assert high == pytest.approx(expected.high, abs=1e-6)
    assert 0 <= low <= right / samples + 1e-12
    assert right / samples - 1e-12 <= high <= 1


def test_wilson_without_samples_says_nothing() -> None:
    assert metrics.wilson(0.5, 0) == (0.0, 1.0)


def test_paired_interval_is_that_of_a_plain_bootstrap() -> None:
    generator = np.random.default_rng(5)
    before = generator.random(800) < 0.8
    after = before ^ (generator.random(800) < 0.05)
    low, high = metrics.paired_interval(before, after, rounds=4000)
    difference = after.astype(float) - before
    drawn = difference[generator.integers(0, 800, (4000, 800))].mean(1)
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.0025)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.0025)
    assert low <= difference.mean() <= high
    assert (low, high) == metrics.paired_interval(before, after, rounds=4000)


def test_paired_interval_of_equal_answers_is_nothing() -> None:
    answers = np.array([True, False, True])
    assert metrics.paired_interval(answers, answers) == (0.0, 0.0)
    assert metrics.paired_interval(answers[:0], answers[:0]) == (0.0, 0.0)


def test_sqnr_by_hand() -> None:
    reference = np.array([10.0, 0.0], np.float32)
    assert metrics.sqnr_db(reference, np.array([10.0, 1.0])) == pytest.approx(20.0)
    assert metrics.sqnr_db(reference, reference) == math.inf
    assert metrics.sqnr_db(0 * reference, reference) == -math.inf


def test_cosine_by_hand() -> None:
    assert metrics.cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert metrics.cosine(np.array([2.0, 0.0]), np.array([-1.0, 0.0])) == pytest.approx(-1)
    assert metrics.cosine(np.zeros(2), np.ones(2)) == 0
