"""Exactly as many zeros as asked, at the right places, in bytes that are really smaller."""

from __future__ import annotations

from decimal import Decimal
from math import floor, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from studio.core.encoding import Dense, Encoding, Sparse
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext


def layer(shape: tuple[int, ...], kind: str = "conv", groups: int = 1, name: str = "conv1") -> Layer:
    return Layer(name, name, kind, "", (), (), (1, 4, 4, 4), shape, 0, 0, 0, None, groups)


def prune(
    weight: np.ndarray,
    kind: str = "conv",
    peers: dict[str, np.ndarray] | None = None,
    name: str = "conv1",
    **values: object,
) -> Encoding:
    step = Step("prune_weights", **values)
    context = EncodeContext(layer(weight.shape, kind, name=name), peers or {})
    found: Encoding = step.found.encode(Dense(weight), step.values, context)  # type: ignore[attr-defined]
    return found


def kept(encoding: Encoding) -> np.ndarray:
    return encoding.mask if isinstance(encoding, Sparse) else np.ones(encoding.shape, np.bool_)


TIED = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.sampled_from([-2, -1, 0, 1, 3])
)


@settings(deadline=None)
@given(TIED, st.decimals(0, Decimal("0.99"), places=2))
def test_the_smallest_go_and_of_equal_ones_the_first(weight: np.ndarray, amount: Decimal) -> None:
    found = kept(prune(weight, amount=float(amount)))
    count = floor(amount * weight.size)
    order = sorted(range(weight.size), key=lambda i: (abs(weight.flat[i]), i))
    expected = np.ones(weight.size, np.bool_)
    expected[order[:count]] = False
    assert found.reshape(-1).tolist() == expected.tolist()


def test_an_amount_is_the_decimal_that_was_typed() -> None:
    weight = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    for percent in range(100):
        assert (~kept(prune(weight, amount=percent / 100))).sum() == percent


def test_nothing_to_prune_gives_the_encoding_itself() -> None:
    weight = Dense(np.ones((2, 3), np.float32))
    step = Step("prune_weights", amount=0.1)
    assert step.found.encode(weight, step.values, EncodeContext(layer((2, 3)))) is weight  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.lists(TIED, min_size=1, max_size=4), st.decimals(0, Decimal("0.99"), places=2))
def test_one_threshold_over_all_layers(weights: list[np.ndarray], amount: Decimal) -> None:
    peers = {f"l{i}": w for i, w in enumerate(weights)}
    masks = [kept(prune(w, peers=peers, name=n, amount=float(amount), scope="global")) for n, w in peers.items()]
    values = np.concatenate([w.reshape(-1) for w in weights])
    order = sorted(range(values.size), key=lambda i: (abs(values[i]), i))
    expected = np.ones(values.size, np.bool_)
    expected[order[: floor(amount * values.size)]] = False
    assert np.concatenate([m.reshape(-1) for m in masks]).tolist() == expected.tolist()


def test_a_global_threshold_follows_new_weights() -> None:
    small, large = np.full((2, 4), 0.1, np.float32), np.ones((2, 4), np.float32)
    values = {"amount": 0.5, "scope": "global"}
    assert not kept(prune(small, peers={"conv1": small, "b": large}, **values)).any()
    assert kept(prune(large, peers={"a": small, "conv1": large}, **values)).all()
    assert kept(prune(small, peers={"conv1": small, "b": small / 2}, **values)).all()


@pytest.mark.parametrize(("pattern", "number"), [("2:4", 2), ("1:4", 1)])
@pytest.mark.parametrize(("kind", "axis"), [("conv", 1), ("linear", 1), ("conv_transpose", 0)])
def test_n_of_each_four_input_channels_are_kept(pattern: str, number: int, kind: str, axis: int) -> None:
    shape = (8, 12) if kind == "linear" else (8, 12, 3, 3)
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = np.moveaxis(kept(prune(weight, kind, pattern=pattern)), axis, -1).reshape(-1, 4)
    scores = np.moveaxis(np.abs(weight), axis, -1).reshape(-1, 4)
    assert (found.sum(1) == number).all()
    assert (np.where(found, scores, np.inf).min(1) > np.where(found, -np.inf, scores).max(1)).all()


@settings(deadline=None)
@given(st.floats(0, 0.99))
def test_blocks_go_as_a_whole_and_never_more_than_asked(amount: float) -> None:
    weight = np.random.default_rng(1).normal(size=(6, 8, 3)).astype(np.float32)
    found = np.moveaxis(kept(prune(weight, pattern="1x4", amount=amount)), 1, -1).reshape(-1, 4)
    assert set(found.sum(1).tolist()) <= {0, 4}
    gone = ~found.any(1)
    assert gone.sum() == floor(Decimal(repr(amount)) * weight.size) // 4
    scores = np.moveaxis(np.abs(weight), 1, -1).reshape(-1, 4).sum(1)
    if gone.any():
        assert scores[gone].max() < scores[~gone].min()


def test_bytes_are_those_of_the_best_real_form() -> None:
    weight = np.random.default_rng(2).normal(size=(32, 32, 3, 3)).astype(np.float32)
    sizes = [prune(weight, amount=a).bits() for a in np.linspace(0, 0.99, 34).round(2).tolist()]
    assert sizes == sorted(sizes, reverse=True)
    assert prune(weight, amount=0.02).bits() == Dense(weight).bits()  # the mask alone costs 1/32
    half = prune(weight, amount=0.5).bits() / Dense(weight).bits()
    assert half == pytest.approx(0.5 + 1 / 32, abs=0.002)
    assert prune(weight, pattern="2:4").bits() < prune(weight, amount=0.5).bits()
    assert prune(weight, pattern="1x4", amount=0.5).bits() < prune(weight, amount=0.5).bits()


@pytest.mark.parametrize(
    ("shape", "kind", "groups", "words"),
    [
        ((8, 3, 3, 3), "conv", 1, "it has 3 input channels"),
        ((8, 1, 3, 3), "conv", 8, "each filter sees one input channel"),
        ((8, 6, 3, 3), "conv", 2, "each filter sees 6 input channels"),
        ((8, 3, 3, 3), "conv_transpose", 4, "each filter sees 2 input channels"),
        ((10, 10), "linear", 1, "it has 10 input channels"),
    ],
)
def test_a_pattern_is_refused_where_channels_do_not_come_in_fours(
    shape: tuple[int, ...], kind: str, groups: int, words: str
) -> None:
    for pattern in ("2:4", "1:4", "1x4"):
        step = Step("prune_weights", pattern=pattern)
        reason = step.found.refuses(layer(shape, kind, groups), step.values)
        assert reason == f"Pattern {pattern} needs input channels in fours; {words}."
    step = Step("prune_weights")
    assert step.found.refuses(layer(shape, kind, groups), step.values) is None


def test_a_layer_without_weights_is_refused() -> None:
    relu = Layer("relu1", "relu1", "relu", "", (), (), (1, 4), None, 0, 0, 0, None)
    step = Step("prune_weights")
    assert step.found.refuses(relu, step.values) == "relu1 has no weights to prune."


def test_settings_without_effect_say_why() -> None:
    def inactive(**values: object) -> dict[str, str]:
        step = Step("prune_weights", **values)
        return dict(step.found.inactive(step.values))

    assert inactive() == {}
    assert inactive(pattern="2:4")["amount"] == "Pattern 2:4 always prunes 50 %."
    assert inactive(pattern="1:4")["amount"] == "Pattern 1:4 always prunes 75 %."
    assert inactive(pattern="1x4").keys() == {"scope", "counts"}


@pytest.mark.parametrize(("pattern", "amount"), [("2:4", 0.5), ("1:4", 0.75)])
def test_a_fixed_pattern_prunes_what_it_says_at_every_amount(pattern: str, amount: float) -> None:
    weight = np.random.default_rng(4).normal(size=(4, 8, 3, 3)).astype(np.float32)
    for asked in (0.0, 0.3, 0.99):
        assert (~kept(prune(weight, pattern=pattern, amount=asked))).sum() == amount * prod(weight.shape)


def test_energy_by_hand() -> None:
    # Squares 1, 4, 9, 16, 70: sum 100. 5 % are 1 + 4, 14 % 1 + 4 + 9; 13 % is not enough for the 9.
    weight = np.array([[3, -1, np.sqrt(70), 2, 4]], np.float32)
    for amount, gone in ((0.051, {1, 2}), (0.13, {1, 2}), (0.141, {1, 2, 3}), (0.0, set())):
        mask = kept(prune(weight, amount=amount, counts="energy"))
        assert {abs(v) for v in weight[~mask].tolist()} == gone
    assert kept(prune(np.zeros((2, 2), np.float32), amount=0.5, counts="energy")).all()


def test_energy_over_layers_goes_by_their_size() -> None:
    # This layer holds 100 of 400 weights: of 0.4 it may lose 0.1 of its squares, whatever the scale of the others.
    weight = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    step = Step("prune_weights", amount=0.4, counts="energy", scope="global")
    context = EncodeContext(layer(weight.shape), {"conv1": weight, "other": np.full((30, 10), 1e-6, np.float32)})
    gone = weight[~kept(step.found.encode(Dense(weight), step.values, context))]  # type: ignore[attr-defined]
    squares = float((weight**2).sum())
    assert float((gone**2).sum()) <= 0.1 * squares < float((gone**2).sum()) + (len(gone) + 1) ** 2


def test_chip() -> None:
    chips = [
        Step("prune_weights", amount=0.6),
        Step("prune_weights", pattern="2:4"),
        Step("prune_weights", pattern="1x4"),
        Step("prune_weights", amount=0.05, counts="energy"),
    ]
    assert [s.found.chip(s.values) for s in chips] == ["P60 %", "P2:4", "P50 %", "P5 % E"]
