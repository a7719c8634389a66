"""Weights on a grid, against numpy written out again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from studio.core.encoding import Dense, Encoding, Grid, Sparse
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext

WEIGHTS = st.floats(-1000, 1000, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)


def layer(shape: tuple[int, ...], kind: str = "conv", groups: int = 1) -> Layer:
    return Layer("conv1", "conv1", kind, "", (), (), (1, 4, 4, 4), shape, 0, 0, 0, None, groups)


def quantize(encoding: Encoding, kind: str = "conv", **values: object) -> Encoding:
    step = Step("quantize", **values)
    found: Encoding = step.found.encode(encoding, step.values, EncodeContext(layer(encoding.shape, kind)))  # type: ignore[attr-defined]
    return found


def grid(weight: np.ndarray, kind: str = "conv", **values: object) -> Grid:
    found = quantize(Dense(weight), kind, **values)
    assert isinstance(found, Grid)
    return found


def squared_error(weight: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Of each output channel (axis 0), in float64."""
    error = np.square(encoding.decode().astype(np.float64) - weight)
    return error.reshape(len(weight), -1).sum(1)


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, (4, 3, 3), elements=WEIGHTS), st.integers(2, 8))
def test_min_max_by_the_book(weight: np.ndarray, bits: int) -> None:
    found = grid(weight, weight_bits=bits, calibration="min_max")
    most = 2 ** (bits - 1) - 1
    largest = max(np.float32(np.abs(channel).max()) / np.float32(most) for channel in weight)
    for channel, q, scale in zip(weight, found.q, found.scale, strict=True):
        peak = np.float32(np.abs(channel).max())
        expected = peak / np.float32(most)
        if peak == 0:
            expected = largest * np.float32(2**-23) if largest else np.float32(1)
        assert scale == expected
        assert q.tolist() == np.clip(np.rint(channel / scale), -most, most).tolist()
        assert np.abs(q).max() == (most if peak else 0)


def test_halves_round_to_even() -> None:
    weight = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)
    assert grid(weight, "linear", calibration="min_max").q.tolist() == [[127, 0, 2, 2, 0, -2]]


def test_a_channel_of_zeros_gets_the_least_scale() -> None:
    weight = np.array([[0, 0], [2.54, -1]], np.float32)
    for calibration in ("min_max", "percentile", "mse"):
        found = grid(weight, "linear", calibration=calibration)
        assert found.scale[0] == found.scale[1] * np.float32(2**-23)
        assert found.q[0].tolist() == [0, 0]


def test_a_layer_of_zeros_stays_zero() -> None:
    for calibration in ("min_max", "percentile", "mse"):
        found = grid(np.zeros((2, 3), np.float32), "linear", calibration=calibration)
        assert found.scale.tolist() == [1, 1]
        assert not found.q.any()


def test_weights_near_the_smallest_float_still_have_a_scale() -> None:
    found = grid(np.array([[1e-44, -3e-45], [0, 0]], np.float32), "linear")
    assert (found.scale > 0).all()
    assert np.isfinite(found.decode()).all()


@pytest.mark.parametrize(
    ("kind", "shape", "axis", "scales"),
    [
        ("conv", (8, 4, 3, 3), 0, 8),
        ("conv", (8, 4, 5), 0, 8),
        ("conv", (8, 1, 3, 3), 0, 8),  # depthwise
        ("linear", (10, 64), 0, 10),
        ("conv_transpose", (4, 6, 2, 2), 1, 6),
    ],
)
def test_scales_lie_along_the_output_channel(kind: str, shape: tuple[int, ...], axis: int, scales: int) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = grid(weight, kind, calibration="min_max")
    assert (found.axis, found.scale.shape) == (axis, (scales,))
    moved = np.moveaxis(weight, axis, 0).reshape(scales, -1)
    assert found.scale.tolist() == (np.abs(moved).max(1) / np.float32(127)).tolist()
    whole = grid(weight, kind, calibration="min_max", per_channel=False)
    assert (whole.axis, whole.scale.tolist()) == (None, [np.abs(weight).max() / np.float32(127)])


@settings(deadline=None, max_examples=80)
@given(hnp.arrays(np.float32, (3, 7), elements=WEIGHTS), st.integers(2, 8), st.booleans())
def test_mse_is_never_worse_than_min_max(weight: np.ndarray, bits: int, per_channel: bool) -> None:
    values = {"weight_bits": bits, "per_channel": per_channel}
    searched = squared_error(weight, grid(weight, "linear", calibration="mse", **values)).sum()
    largest = squared_error(weight, grid(weight, "linear", calibration="min_max", **values)).sum()
    assert searched <= largest * (1 + 1e-5) + 1e-12


def output_error(weight: np.ndarray, encoding: Encoding) -> float:
    """Mean squared error of a layer's output for rectified inputs whose neighbours are alike, by trying them."""
    generator = np.random.default_rng(9)
    out, inputs, places = weight.shape[0], weight.shape[1], weight[0, 0].size
    common = generator.normal(size=(2000, inputs, 1)) + generator.normal(size=(2000, inputs, places))
    x = np.maximum(common, 0).reshape(2000, -1)
    error = (encoding.decode().astype(np.float64) - weight).reshape(out, -1)
    return float(np.square(x @ error.T).mean())


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("heavy", [False, True])
def test_mse_lowers_the_error_of_a_layers_output(bits: int, heavy: bool) -> None:
    generator = np.random.default_rng(bits)
    shape = (24, 16, 3, 3)
    weight = (generator.standard_t(3, shape) if heavy else generator.normal(size=shape)).astype(np.float32)
    errors = {
        (calibration, each): output_error(
            weight, grid(weight, weight_bits=bits, calibration=calibration, per_channel=each)
        )
        for calibration in ("mse", "min_max", "percentile")
        for each in (True, False)
    }
    assert errors["mse", True] < (0.75 if bits <= 4 else 1) * min(errors["min_max", True], errors["percentile", True])
    assert errors["mse", False] <= min(errors["min_max", False], errors["percentile", False])


def test_percentile_is_that_of_the_kept_weights() -> None:
    weight = np.random.default_rng(2).normal(size=(3, 500)).astype(np.float32)
    found = grid(weight, "linear", calibration="percentile")
    expected = np.quantile(np.abs(weight).astype(np.float64), 0.999, axis=1) / 127
    assert found.scale == pytest.approx(expected, rel=1e-6)
    mask = np.abs(weight) > 1.2
    sparse = quantize(Sparse(mask, Dense(weight)), "linear", calibration="percentile")
    assert isinstance(sparse, Sparse)
    assert isinstance(sparse.values, Grid)
    kept = [np.quantile(np.abs(row[k]).astype(np.float64), 0.999) / 127 for row, k in zip(weight, mask, strict=True)]
    assert sparse.values.scale == pytest.approx(kept, rel=1e-6)


def test_pruned_weights_stay_exactly_zero() -> None:
    weight = np.random.default_rng(3).normal(size=(4, 40)).astype(np.float32)
    mask = np.abs(weight) > 0.7
    for bits in range(2, 9):
        found = quantize(Sparse(mask, Dense(weight)), "linear", weight_bits=bits)
        assert isinstance(found, Sparse)
        assert found.mask is mask
        assert not found.decode()[~mask].any()


def test_an_output_channel_that_was_pruned_away_gets_the_least_scale() -> None:
    weight = np.ones((2, 4), np.float32)
    mask = np.array([[True] * 4, [False] * 4])
    found = quantize(Sparse(mask, Dense(weight)), "linear", calibration="min_max")
    assert isinstance(found, Sparse)
    assert isinstance(found.values, Grid)
    assert found.values.scale[1] == found.values.scale[0] * np.float32(2**-23)


@pytest.mark.parametrize(("bits", "group"), [(8, 0), (4, 0), (2, 0), (4, 32)])
def test_wider_steps_are_multiples_of_the_chosen_ones(bits: int, group: int) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    one, wide = (grid(weight, "linear", weight_bits=bits, group=group, step=step) for step in (1.0, 1.5))
    assert np.array_equal(wide.scale, one.scale * np.float32(1.5))
    scale = wide.scale.repeat(group, axis=1) if group else wide.scale[:, None]
    most = 2 ** (bits - 1) - 1
    assert np.array_equal(wide.q, np.clip(np.rint(weight / scale), -most, most))


def test_four_bits_in_wide_steps_err_less_than_three_in_as_many_bytes() -> None:
    """Levels beyond the third are seldom, so cost little when coded, and hold what three bits would clip."""
    weight = np.random.default_rng(0).laplace(size=(16, 32, 3, 3)).astype(np.float32)
    coded, found = [], []
    for values in ({"weight_bits": 3}, {"weight_bits": 4, "step": 2.0}):
        found.append(quantize(Dense(weight), **values))
        step = Step("huffman")
        coded.append(step.found.encode(found[-1], step.values, EncodeContext(layer(weight.shape))))  # type: ignore[attr-defined]
    three, four = (squared_error(weight, one).sum() for one in found)
    assert len(coded[1].pack()) <= len(coded[0].pack())
    assert four < three


def test_binary_weights_have_no_steps() -> None:
    weight = np.array([[1.0, -2.0, 3.0]], np.float32)
    assert grid(weight, "linear", weight_bits=1, step=2).scale == grid(weight, "linear", weight_bits=1).scale
    step = Step("quantize", weight_bits=1)
    assert "step" in step.found.inactive(step.values)


def test_chip_and_reason() -> None:
    step = Step("quantize", weight_bits=4)
    assert step.found.chip(step.values) == "Q4"
    wide = Step("quantize", weight_bits=4, step=1.5, rounding="learned")
    assert wide.found.chip(wide.values) == "Q4 x1.5"
    assert step.found.refuses(layer((4, 4)), step.values) is None
    relu = Layer("relu1", "relu1", "relu", "", (), (), (1, 4), None, 0, 0, 0, None)
    assert step.found.refuses(relu, step.values) == "relu1 has no weights to quantize."


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float32, (3, 2, 5), elements=WEIGHTS))
def test_binary_weights_have_the_mean_size_of_each_channel(weight: np.ndarray) -> None:
    found = grid(weight, weight_bits=1)
    assert set(np.unique(found.q)) <= {-1, 1}
    for channel, q, scale in zip(weight, found.q, found.scale, strict=True):
        assert (q == np.where(channel >= 0, 1, -1)).all()
        if channel.any():
            assert scale == pytest.approx(np.abs(channel).mean(), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_binary_scale_has_a_smaller_error(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(1, 4, 9)).astype(np.float32)
    found = squared_error(weight, grid(weight, weight_bits=1)).sum()
    for scale in np.linspace(0.01, 3, 300):
        assert found <= np.square(np.where(weight >= 0, scale, -scale) - weight).sum() + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_two_bits_are_ternary_with_the_best_threshold(seed: int) -> None:
    """Every threshold by brute force, each with its best scale, the mean of what lies above (Li 2016, section 2.2)."""
    weight = np.random.default_rng(seed).normal(size=(1, 4, 1)).astype(np.float32)
    found = grid(weight, weight_bits=2)
    assert set(np.unique(found.q)) <= {-1, 0, 1}
    sizes = np.sort(np.abs(weight).ravel())
    best = min(np.square(weight).sum() - sizes[k:].sum() ** 2 / (4 - k) for k in range(4))
    plain = squared_error(weight, found).sum()
    assert best - 1e-6 <= plain <= squared_error(weight, grid(weight, weight_bits=2, calibration="min_max")).sum()


def test_powers_of_two_by_hand() -> None:
    weight = np.array([[4, 3.1, 2.9, 1.6, 1.4, 0.6, 0.4, -1, -4]], np.float32)
    found = grid(weight, "linear", weight_bits=3, levels="power_of_two", calibration="min_max")
    assert found.scale.tolist() == [1]
    # Halfway between 2 and 4 lies 3, between 1 and 2 lies 1.5, between 0 and 1 lies 0.5.
    assert found.q.tolist() == [[4, 4, 2, 2, 1, 1, 0, -1, -4]]
    assert (found.width, found.power_of_two) == (3, True)


def test_powers_of_two_use_four_bits_at_most() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 8, 3, 3)).astype(np.float32)
    eight, four = (grid(weight, weight_bits=b, levels="power_of_two") for b in (8, 4))
    assert eight.pack() == four.pack()
    assert set(np.abs(np.unique(four.q)).tolist()) <= {0, 1, 2, 4, 8, 16, 32, 64}


@pytest.mark.parametrize(
    ("kind", "shape"), [("linear", (5, 80)), ("conv", (6, 70, 3, 3)), ("conv_transpose", (70, 6, 2, 2))]
)
def test_groups_of_inputs_have_scales_of_their_own(kind: str, shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = grid(weight, kind, weight_bits=4, group=32, calibration="min_max")
    axis = 1 if kind == "conv_transpose" else 0
    assert (found.axis, found.group, found.scale.shape) == (axis, 32, (shape[axis], 3))
    moved = np.moveaxis(weight, axis, 0)
    last = np.abs(moved[:, 64:]).reshape(shape[axis], -1).max(1)
    assert found.scale[:, 2].tolist() == (last / np.float32(7)).tolist()
    assert np.abs(found.decode() - weight).max() <= found.scale.max() / 2 * (1 + 1e-6)


def test_a_layer_with_fewer_inputs_than_a_group_has_one_scale_a_channel() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 1, 3, 3)).astype(np.float32)
    assert grid(weight, weight_bits=4, group=32).pack() == grid(weight, weight_bits=4).pack()
