"""Ranges against brute force over the raw values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from studio.engine.ranges import NOTHING, divergence, tensor_range
from studio.engine.statistics import Histogram, TensorStatistics

RNG = np.random.default_rng(0)
TENSORS = {
    "normal": RNG.normal(size=20_000),
    "relu": np.maximum(0, RNG.normal(size=20_000)),
    "mostly zero": np.maximum(0, RNG.normal(size=20_000) - 2),
    "laplace": RNG.laplace(size=20_000),
    "one outlier": np.append(np.maximum(0, RNG.normal(size=20_000)), 60),
    "two outliers": np.append(RNG.normal(size=20_000), [25, -9]),
    "uniform": RNG.uniform(-1, 3, size=20_000),
    "negative": -np.abs(RNG.normal(size=20_000)),
    "heavy": RNG.standard_t(3, size=20_000),
    "integers": RNG.integers(0, 256, size=20_000),
    "shifted": 5 + RNG.normal(size=20_000),
}


def statistics(x: np.ndarray, parts: int = 5) -> TensorStatistics:
    histogram = Histogram()
    for part in np.array_split(x.astype(np.float32), parts):
        if len(part):
            histogram.add(torch.from_numpy(part), float(part.min()), float(part.max()))
    mean, zeros = np.array([np.abs(x).mean()]), np.array([(x == 0).mean()])
    return TensorStatistics(
        histogram.minimum, histogram.maximum, histogram.counts, histogram.edges, mean, zeros, len(x)
    )  # fmt: skip


def squared_error(x: np.ndarray, low: float, high: float) -> float:
    """Affine int8 quantization by its definition."""
    scale = (high - low) / 255
    zero = np.rint(-128 - low / scale)
    q = np.clip(np.rint(x / scale) + zero, -128, 127)
    return float(np.square((q - zero) * scale - x).mean())


@pytest.mark.parametrize("name", TENSORS)
def test_mse_is_as_good_as_brute_force_on_raw_values(name: str) -> None:
    x = TENSORS[name].astype(np.float32)
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    clips = np.arange(1, 33) / 32
    tried = [squared_error(x, a * low, b * high) for a in (clips if low else [1]) for b in (clips if high else [1])]
    found = tensor_range(statistics(x), "mse")
    assert squared_error(x, *found) <= 1.01 * min(tried) + 1e-12
    assert low <= found[0] <= 0 <= found[1] <= high


def test_mse_clips_an_outlier_and_min_max_does_not() -> None:
    x = np.append(RNG.normal(size=200_000), 30.0)
    # At 30: (34.5 / 255)^2 / 12 = .0015 a value; at 20: .0008, and 10^2 / 200,000 = .0005 for the clipped one.
    assert 15 < tensor_range(statistics(x), "mse")[1] < 25
    assert tensor_range(statistics(x), "min_max")[1] == 30.0


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("share", [0.99, 0.9999])
def test_percentile_against_numpy(name: str, share: float) -> None:
    x = TENSORS[name].astype(np.float32)
    found = tensor_range(statistics(x), "percentile", percentile=100 * share)
    width = 2 * float(np.ptp(np.append(x, 0))) / 2047
    # Equal to the width of a bin and two values of 20,000.
    for value, q in zip(found, (1 - share, share), strict=True):
        lowest, highest = np.quantile(x, [max(0, q - 1e-4), min(1, q + 1e-4)])
        lowest, highest = (min(lowest, 0), min(highest, 0)) if q < 0.5 else (max(lowest, 0), max(highest, 0))
        assert lowest - width <= value <= highest + width


def kl_by_loops(counts: list[float], bins: int) -> float:
    """TensorRT's algorithm (Migacz 2017, slide 38) for one sign, written out; divergence from scipy."""
    before = list(counts[:bins])
    before[-1] += sum(counts[bins:])
    behind = [0.0] * bins
    levels = min(255, bins)
    for level in range(levels):
        own = [i for i in range(bins) if i * levels // bins == level]
        filled = [i for i in own if before[i] > 0]
        for i in filled:
            behind[i] = max(1e-4, sum(counts[j] for j in own) / len(filled))
    return float(entropy(before, behind))


@pytest.mark.parametrize("bins", [300, 511, 700, 1000])
def test_divergence_is_scipys(bins: int) -> None:
    counts = np.histogram(np.abs(RNG.standard_t(3, 5000)), 1000)[0].astype(np.float64)
    assert divergence(counts, 0, bins) == pytest.approx(kl_by_loops(counts.tolist(), bins), rel=1e-9)


def test_entropy_clips_a_long_tail_and_no_even_one() -> None:
    heavy = np.append(RNG.normal(size=200_000), 60.0)
    low, high = tensor_range(statistics(heavy), "entropy")
    assert high < 30
    assert np.mean((heavy < low) | (heavy > high)) < 0.01
    even = RNG.uniform(-1, 3, size=200_000)
    assert tensor_range(statistics(even), "entropy") == pytest.approx((-1, 3), rel=0.02)


def test_min_max_by_hand() -> None:
    assert tensor_range(statistics(np.array([-2.0, 0.5, 3.0])), "min_max") == (-2.0, 3.0)
    assert tensor_range(statistics(np.array([1.0, 3.0])), "min_max") == (0.0, 3.0)
    assert tensor_range(statistics(np.array([-4.0, -1.0])), "min_max") == (-4.0, 0.0)


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse", "entropy"])
@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_a_tensor_of_zeros_gets_a_sensible_range(rule: str, value: float) -> None:
    assert tensor_range(statistics(np.full(100, value)), rule) == NOTHING
    assert NOTHING[0] <= 0 < NOTHING[1]


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse", "entropy"])
@pytest.mark.parametrize("value", [0.3, -7.0, 1e-5, 3e30])
def test_a_constant_tensor_is_stored_exactly(rule: str, value: float) -> None:
    low, high = tensor_range(statistics(np.full(100, value)), rule)
    assert (low, high) == pytest.approx((min(value, 0), max(value, 0)), rel=2e-3)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    st.sampled_from(["min_max", "percentile", "mse", "entropy"]),
)
def test_ranges_are_ordered_hold_zero_and_stay_inside(values: list[float], rule: str) -> None:
    x = np.array(values)
    low, high = tensor_range(statistics(x, 3), rule)
    assert low <= 0 <= high
    assert low < high
    if (low, high) != NOTHING:
        assert min(0, x.min()) <= low
        assert high <= max(0, x.max())
    if x.min() >= 0:
        assert low == 0


def test_an_unknown_rule_is_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="magic"):
        tensor_range(statistics(np.ones(3)), "magic")
