"""Low rank by the numbers: forms against numpy and tensorly, data-aware against the closed optimum."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import tensorly
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker

from studio.core.graph import Layer
from studio.techniques._factor import Problem, composed, count, error, factors
from studio.techniques._ranks import choose, kept_energy, spectrum
from studio.techniques.low_rank import MOST_INPUTS, TECHNIQUE, LowRankSettings, forms_of

FORMS = ("channel", "spatial", "tucker")
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))


def weights(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def problem(weight: np.ndarray, root: np.ndarray | None = None) -> Problem:
    return Problem("test", weight, root, None)


def some_root(size: int, seed: int = 1) -> np.ndarray:
    """Square root of correlated moments: few strong directions."""
    generator = np.random.default_rng(seed)
    return (
        generator.standard_normal((size + 3, size))
        @ generator.standard_normal((size, size))
        * np.geomspace(1, 0.01, size)
    )


def full(shape: tuple[int, ...], form: str) -> tuple[int, ...]:
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    if form == "tucker":
        return min(inputs, outputs * places), min(outputs, inputs * places)
    return (min(inputs * kernel[0], outputs * kernel[1]) if form == "spatial" else min(outputs, inputs * places),)


def test_channel_form_is_the_truncated_svd_of_numpy() -> None:
    weight = weights((20, 6, 3, 3))
    values = np.linalg.svd(weight.reshape(20, 54), compute_uv=False)
    one = problem(weight)
    np.testing.assert_allclose(spectrum(one, "channel"), values, rtol=1e-9)
    for rank in (1, 7, 19):
        made = factors(one, "channel", (rank,))
        assert [w.shape for w in made] == [(rank, 6, 3, 3), (20, rank, 1, 1)]
        # Eckart & Young: what is lost is the rest of the squares.
        lost = (values[rank:] ** 2).sum() / (values**2).sum()
        assert error(one, made) == pytest.approx(lost, rel=1e-9)
        assert ((composed(made) - weight) ** 2).sum() == pytest.approx((values[rank:] ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize("shape", [(10, 32), (32, 10), (1, 7)])
def test_linear_form_is_the_truncated_svd_of_numpy(shape: tuple[int, int]) -> None:
    weight = weights(shape)
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    rank = max(1, min(shape) // 2)
    made = factors(problem(weight), "channel", (rank,))
    assert [w.shape for w in made] == [(rank, shape[1]), (shape[0], rank)]
    np.testing.assert_allclose(made[1] @ made[0], (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-10)


def test_spatial_form_is_the_truncated_svd_over_columns_and_rows() -> None:
    weight = weights((7, 5, 3, 4))
    values = np.linalg.svd(weight.transpose(1, 2, 0, 3).reshape(15, 28), compute_uv=False)
    made = factors(problem(weight), "spatial", (6,))
    assert [w.shape for w in made] == [(6, 5, 3, 1), (7, 6, 1, 4)]
    assert ((composed(made) - weight) ** 2).sum() == pytest.approx((values[6:] ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize("ranks", [(2, 3), (6, 4), (8, 12)])
def test_tucker_form_is_that_of_tensorly(ranks: tuple[int, int]) -> None:
    weight = weights((12, 8, 3, 3)) * np.geomspace(1, 0.05, 12)[:, None, None, None]
    (core, (left, right)), _ = partial_tucker(weight, rank=ranks[::-1], modes=[0, 1], n_iter_max=200, tol=1e-12)
    theirs = tensorly.tenalg.multi_mode_dot(core, [left, right], modes=[0, 1])
    made = factors(problem(weight), "tucker", ranks)
    assert [w.shape for w in made] == [(ranks[0], 8, 1, 1), (ranks[1], ranks[0], 3, 3), (12, ranks[1], 1, 1)]
    ours, best = ((composed(made) - weight) ** 2).sum(), ((theirs - weight) ** 2).sum()
    assert ours == pytest.approx(best, rel=2e-3, abs=1e-12)  # three sweeps against two hundred


def test_data_aware_channel_form_is_the_svd_of_w_times_the_root_of_c() -> None:
    weight, root = weights((9, 4, 3, 3)), some_root(36)
    squares, vectors = np.linalg.eigh(root.T @ root)
    half = (vectors * np.sqrt(np.maximum(squares, 0))) @ vectors.T
    values = np.linalg.svd(weight.reshape(9, 36) @ half, compute_uv=False)
    one = problem(weight, root)
    for rank in (1, 4, 8):
        made = factors(one, "channel", (rank,))
        assert error(one, made) == pytest.approx((values[rank:] ** 2).sum() / (values**2).sum(), rel=1e-8)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, seed=st.integers(0, 99), share=st.floats(0.1, 1), form=st.sampled_from(FORMS))
def test_factors_counted_with_data_lose_no_more_there_than_plain_ones(
    shape: tuple[int, ...], seed: int, share: float, form: str
) -> None:
    weight = weights(shape, seed)
    aware = problem(weight, some_root(weight[0].size, seed))
    ranks = tuple(max(1, round(share * rank)) for rank in full(shape, form))
    if form == "tucker":
        ranks = (min(ranks[0], ranks[1] * weight[0, 0].size), min(ranks[1], ranks[0] * weight[0, 0].size))
    plain, better = factors(problem(weight), form, ranks), factors(aware, form, ranks)
    assert [w.shape for w in plain] == [w.shape for w in better]
    assert sum(w.size for w in plain) == count(form, shape, ranks)
    assert error(aware, better) <= error(aware, plain) * (1 + 1e-6) + 1e-9


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, seed=st.integers(0, 99), form=st.sampled_from(FORMS), data=st.booleans())
def test_full_rank_gives_the_weight_back(shape: tuple[int, ...], seed: int, form: str, data: bool) -> None:
    weight = weights(shape, seed)
    one = problem(weight, some_root(weight[0].size, seed) if data else None)
    made = factors(one, form, full(shape, form))
    if data:
        assert error(one, made) < 1e-9  # where the samples lie; other directions they cannot show
    else:
        np.testing.assert_allclose(composed(made), weight, atol=1e-9)


def test_channels_between_factors_are_as_strong_on_either_side() -> None:
    for form, ranks in (("channel", (5,)), ("spatial", (7,)), ("tucker", (4, 5))):
        made = factors(problem(weights((12, 8, 3, 3))), form, ranks)
        for first, last in pairwise(made):
            before = np.linalg.norm(first.reshape(len(first), -1), axis=1)
            behind = np.linalg.norm(np.moveaxis(last, 1, 0).reshape(len(before), -1), axis=1)
            np.testing.assert_allclose(before, behind, rtol=0.01)


def test_a_weight_of_zeros_has_factors_of_zeros() -> None:
    for form in FORMS:
        one = problem(np.zeros((6, 4, 3, 3)), some_root(36))
        assert not composed(factors(one, form, (2, 2))).any()
        assert error(one, factors(one, form, (2, 2))) == 0


def test_rank_follows_from_the_share_of_weights_by_hand() -> None:
    one = problem(weights((16, 8, 3, 3)))  # 1152 weights
    # channel: 72 + 16 = 88 a rank, 576 // 88 = 6; spatial: 24 + 48 = 72 a rank, 576 // 72 = 8
    assert choose(one, ("channel",), 0.5, "weights") == ("channel", (6,))
    assert choose(one, ("spatial",), 0.5, "weights") == ("spatial", (8,))
    assert choose(one, ("channel",), 0.01, "weights") == ("channel", (1,))  # at least one
    linear = problem(weights((10, 40)))  # 400 weights, 50 a rank
    assert choose(linear, ("channel",), 0.75, "weights") == ("channel", (6,))
    assert choose(linear, ("channel",), 0.99, "weights") == ("channel", (7,))


def test_tucker_ranks_are_the_pair_with_most_energy_within_the_weights() -> None:
    weight = weights((6, 5, 2, 2)) * np.geomspace(1, 0.1, 6)[:, None, None, None]
    u = np.linalg.svd(weight.reshape(6, 20))[0]
    v = np.linalg.svd(weight.transpose(1, 0, 2, 3).reshape(5, 24))[0]
    core = np.einsum("oixy,oa,ib->abxy", weight, u, v)
    best = max(
        ((core[:o, :i] ** 2).sum(), i, o)
        for o in range(1, 7) for i in range(1, 6)
        if 5 * i + 4 * i * o + 6 * o <= 0.6 * 120 and i <= 4 * o and o <= 4 * i
    )  # fmt: skip
    assert choose(problem(weight), ("tucker",), 0.6, "weights") == ("tucker", best[1:])


def test_rank_follows_from_the_kept_energy() -> None:
    u, v = np.linalg.qr(weights((8, 4)))[0], np.linalg.qr(weights((30, 4), 1))[0]
    weight = (u * [4, 2, 1, 1]) @ v.T  # squares 16, 4, 1, 1 of 22
    one = problem(weight)
    np.testing.assert_allclose(kept_energy(spectrum(one, "channel"))[:4], np.cumsum([16, 4, 1, 1]) / 22, atol=1e-12)
    for keep, rank in ((0.5, 1), (0.72, 1), (0.73, 2), (0.9, 2), (0.91, 3), (0.99, 4)):
        assert choose(one, ("channel",), keep, "energy") == ("channel", (rank,))


def test_a_layer_that_would_not_shrink_is_left() -> None:
    noise = problem(weights((16, 16)))
    assert choose(noise, ("channel",), 0.99, "energy") is None


@settings(deadline=None, max_examples=40)
@given(shape=SHAPES, seed=st.integers(0, 99), rule=st.sampled_from(["weights", "energy"]), data=st.data())
def test_weights_never_grow_along_the_slider(shape: tuple[int, ...], seed: int, rule: str, data: st.DataObject) -> None:
    one = problem(weights(shape, seed))
    form = data.draw(st.sampled_from(FORMS))
    keeps = sorted(data.draw(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6)), reverse=True)
    chosen = [choose(one, (form,), keep, rule) for keep in keeps]
    sizes = [one.weight.size if c is None else count(*c[:1], shape, c[1]) for c in chosen]
    assert sizes == sorted(sizes, reverse=True)
    least = count(form, shape, (1, 1))
    if rule == "weights":
        for keep, size, c in zip(keeps, sizes, chosen, strict=True):
            assert c is None or size <= max(keep * one.weight.size, least)


@settings(deadline=None, max_examples=30)
@given(shape=SHAPES, seed=st.integers(0, 99), keep=st.floats(0.05, 0.95), aware=st.booleans())
def test_auto_is_the_form_with_the_least_error_at_equal_bytes(
    shape: tuple[int, ...], seed: int, keep: float, aware: bool
) -> None:
    weight = weights(shape, seed)
    one = problem(weight, some_root(weight[0].size, seed) if aware else None)
    single = {form: choose(one, (form,), keep, "weights") for form in FORMS}
    chosen = choose(one, FORMS, keep, "weights")
    errors = {form: error(one, factors(one, *c)) for form, c in single.items() if c is not None}
    assert (chosen is None) == (not errors)
    if chosen:
        assert single[chosen[0]] == chosen
        assert errors[chosen[0]] == min(errors.values())


def layer(kind: str, shape: tuple[int, ...], groups: int = 1) -> Layer:
    return Layer("conv1", "conv1", kind, "", (), (), (1, 8, 4, 4), shape, 0, 0, 0, None, groups)


@pytest.mark.parametrize(
    ("kind", "shape", "groups", "chosen", "reason"),
    [
        ("conv", (8, 1, 3, 3), 8, {}, "depthwise"),
        ("conv", (8, 4, 3, 3), 2, {}, "grouped"),
        ("linear", (1, 7), 1, {}, "rank 1 would hold 8 weights; conv1 has 7"),
        ("conv_transpose", (8, 6, 2, 2), 1, {"form": "tucker"}, "channel form only"),
        ("conv", (6, 8, 9), 1, {"form": "spatial"}, "two directions"),
        ("linear", (512, MOST_INPUTS + 1), 1, {}, "too many for data-aware"),
    ],
)
def test_refusals(kind: str, shape: tuple[int, ...], groups: int, chosen: dict[str, str], reason: str) -> None:
    found = TECHNIQUE.refuses(layer(kind, shape, groups), LowRankSettings(**chosen))
    assert found is not None
    assert reason in found


def test_what_is_refused_only_for_its_settings_is_taken_with_others() -> None:
    assert TECHNIQUE.refuses(layer("conv_transpose", (8, 6, 2, 2)), LowRankSettings()) is None
    assert TECHNIQUE.refuses(layer("conv", (6, 8, 9)), LowRankSettings(form="tucker")) is None
    assert TECHNIQUE.refuses(layer("linear", (512, MOST_INPUTS + 1)), LowRankSettings(data_aware=False)) is None
    assert TECHNIQUE.refuses(layer("conv", (64, 64, 1, 1)), LowRankSettings(form="tucker")) is None
    assert TECHNIQUE.refuses(layer("conv", (4, 1, 2, 1)), LowRankSettings(form="channel")) is None  # 6 for 8 weights
    assert forms_of((64, 64, 1, 1), "tucker") == ("channel",)
    assert forms_of((64, 64, 5), "auto") == ("channel", "tucker")
