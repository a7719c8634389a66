"""Low rank on whole networks: geometry, names, bias, moments of the inputs, what is computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from studio.core.errors import DataError, Refused
from studio.core.plan import Plan, Step
from studio.network.cost import describe
from studio.network.network import Network, Node
from studio.network.operators import Conv, ConvTranspose, Input, Linear, Operator
from studio.network.operators_plain import Add, Relu
from studio.session import Session, demo
from studio.techniques._factor import Problem, factors
from studio.techniques._factored_nodes import factor_nodes, weight_of, with_factors
from studio.techniques._input_moments import RIDGE, input_moments
from studio.techniques._rewrite import RewriteContext
from studio.techniques.low_rank import TECHNIQUE, LowRankSettings


def network(operator: Operator, shape: Sequence[int]) -> Network:
    nodes = [Node("x", "x", (), Input(shape)), Node("conv1", "c.weight", ("x",), operator)]
    return Network("net", nodes, ("conv1",))


def context(
    net: Network, batches: Callable[[], Sequence[Tensor]], kept: dict[str, Any] | None = None
) -> RewriteContext:
    values: dict[str, Any] = {} if kept is None else kept

    def remember(key: str, compute: Callable[[], Any]) -> Any:
        if key not in values:
            values[key] = compute()
        return values[key]

    return RewriteContext(net, describe(net), lambda *_: np.zeros(0), batches, remember, recall=values.get)


def rewritten(net: Network, batches: Sequence[Tensor] | None = None, **chosen: Any) -> Network:
    def samples() -> Sequence[Tensor]:
        if batches is None:
            raise DataError("no data")
        return batches

    names = [n.name for n in net.nodes if n.kind in ("conv", "conv_transpose", "linear")]
    return TECHNIQUE.rewrite(net, dict.fromkeys(names, LowRankSettings(**chosen)), context(net, samples))


def whole(node: Node, form: str, ranks: tuple[int, ...]) -> list[Node]:
    weight = weight_of(node)
    return factor_nodes(node, factors(Problem("key", weight, None, None), form, ranks), form, None)


CONV = st.fixed_dictionaries({
    "out": st.integers(1, 5), "in": st.integers(1, 5), "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)), "pads": st.tuples(*[st.integers(0, 3)] * 4),
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)), "size": st.tuples(*[st.integers(7, 11)] * 2),
    "bias": st.booleans(), "seed": st.integers(0, 99),
})  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(shape=CONV, form=st.sampled_from(["channel", "spatial", "tucker"]))
def test_factors_of_full_rank_compute_what_any_convolution_does(shape: dict[str, Any], form: str) -> None:
    torch.manual_seed(shape["seed"])
    bias = torch.randn(shape["out"]) if shape["bias"] else None
    conv = Conv(torch.randn(shape["out"], shape["in"], *shape["kernel"]), bias, shape["stride"], shape["pads"],
                shape["dilation"], 1)  # fmt: skip
    net = network(conv, (1, shape["in"], *shape["size"]))
    height, width = shape["kernel"]
    places = height * width
    ranks = {
        "channel": (min(shape["out"], shape["in"] * places),),
        "spatial": (min(shape["in"] * height, shape["out"] * width),),
        "tucker": (min(shape["in"], shape["out"] * places), min(shape["out"], shape["in"] * places)),
    }[form]
    made = with_factors(net, {"conv1": whole(net.by_name["conv1"], form, ranks)})
    x = torch.randn(3, *net.input_shape[1:])
    torch.testing.assert_close(made(x)[0], net(x)[0], rtol=1e-5, atol=1e-5)
    assert all(node.operator.state_dict().get("bias") is None for node in made.nodes[1:-1])


@pytest.mark.parametrize("groups_of_pads", [(0, 0, 0, 0), (1, 0, 0, 1)])
def test_factors_of_full_rank_compute_what_a_transposed_convolution_does(groups_of_pads: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = ConvTranspose(torch.randn(4, 3, 3, 2), torch.randn(3), (2, 1), groups_of_pads, (1, 0), (1, 2), 1)
    net = network(conv, (1, 4, 5, 6))
    made = with_factors(net, {"conv1": whole(net.by_name["conv1"], "channel", (4,))})
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(made(x)[0], net(x)[0], rtol=1e-5, atol=1e-5)
    assert [node.kind for node in made.nodes] == ["input", "conv", "conv_transpose"]
    aware = rewritten(net, [x], keep=0.7)
    assert [tuple(node.operator.state_dict()["weight"].shape) for node in aware.nodes[1:]] == [
        (2, 4, 1, 1),
        (2, 3, 3, 2),
    ]


def test_factors_of_full_rank_compute_what_1d_and_linear_layers_over_sequences_do() -> None:
    torch.manual_seed(0)
    for operator, shape, form, ranks in (
        (Conv(torch.randn(5, 4, 6), torch.randn(5), (2,), (3, 1), (1,), 1), (1, 4, 20), "tucker", (4, 5)),
        (Linear(torch.randn(5, 4), torch.randn(5)), (1, 7, 4), "channel", (4,)),
    ):
        net = network(operator, shape)
        made = with_factors(net, {"conv1": whole(net.by_name["conv1"], form, ranks)})
        x = torch.randn(2, *shape[1:])
        torch.testing.assert_close(made(x)[0], net(x)[0], rtol=1e-5, atol=1e-5)


def two_layers() -> Network:
    """x -> a -> relu -> b, and a + b as output: `a` is read twice, `b` and `a` are outputs."""
    torch.manual_seed(0)
    conv = lambda i, o: Conv(torch.randn(o, i, 3, 3), torch.randn(o), (1, 1), (1, 1, 1, 1), (1, 1), 1)  # noqa: E731
    nodes = [
        Node("x", "x", (), Input((1, 3, 8, 8))), Node("a", "a.w", ("x",), conv(3, 12)),
        Node("r", "r", ("a",), Relu()), Node("b", "b.w", ("r",), conv(12, 12)), Node("s", "s", ("a", "b"), Add()),
    ]  # fmt: skip
    return Network("net", nodes, ("s", "a"))


def test_readers_and_outputs_take_the_last_factor() -> None:
    net = two_layers()
    before = {n.name: (n.inputs, n.operator) for n in net.nodes}
    made = rewritten(net, form="channel", keep=0.6)
    assert [(n.name, n.inputs) for n in made.nodes] == [
        ("x", ()), ("a/1", ("x",)), ("a/2", ("a/1",)), ("r", ("a/2",)), ("b/1", ("r",)), ("b/2", ("b/1",)),
        ("s", ("a/2", "b/2")),
    ]  # fmt: skip
    assert made.outputs == ("s", "a/2")
    assert [n.source for n in made.nodes[1:3]] == ["a.w/1", "a.w/2"]
    assert made.by_name["r"].operator is net.by_name["r"].operator
    assert {n.name: (n.inputs, n.operator) for n in net.nodes} == before
    assert describe(made).parameters < describe(net).parameters


def test_moments_are_those_of_the_unfolded_input() -> None:
    torch.manual_seed(0)
    conv = Conv(torch.randn(4, 3, 3, 2), torch.randn(4), (2, 1), (1, 0, 2, 1), (1, 2), 1)
    net, x = network(conv, (1, 3, 9, 8)), torch.randn(6, 3, 9, 8) + 1
    padded = nn.functional.pad(x, (0, 1, 1, 2))
    seen = nn.functional.unfold(padded, (3, 2), dilation=(1, 2), stride=(2, 1)).double()
    rows = seen.movedim(1, -1).reshape(-1, 18).numpy()
    found = input_moments(net, ["conv1"], [x[:4], x[4:]])["conv1"]
    np.testing.assert_allclose(found.mean, rows.mean(0), atol=1e-6)
    covariance = np.cov(rows.T, bias=True)
    ridge = RIDGE * np.trace(covariance) / 18
    np.testing.assert_allclose(found.root.T @ found.root, covariance + ridge * np.eye(18), atol=1e-4)


def test_without_a_bias_moments_are_about_zero() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 7, 4) + 2
    for bias in (None, torch.zeros(3)):
        found = input_moments(network(Linear(torch.randn(3, 4), bias), (1, 7, 4)), ["conv1"], [x])["conv1"]
        rows = x.reshape(-1, 4).double().numpy()
        second = rows.T @ rows / 35 if bias is None else np.cov(rows.T, bias=True)
        ridge = RIDGE * np.trace(second) / 4
        np.testing.assert_allclose(found.root.T @ found.root, second + ridge * np.eye(4), rtol=1e-4)
        assert (found.mean is None) == (bias is None)


def outputs_error(net: Network, made: Network, x: Tensor) -> float:
    return float((made(x)[0] - net(x)[0]).square().mean())


@pytest.mark.parametrize("form", ["channel", "spatial", "tucker", "auto"])
def test_data_aware_factors_serve_the_data_better(form: str) -> None:
    torch.manual_seed(0)
    mix = torch.randn(6, 6) * torch.logspace(0, -1.5, 6)
    x = torch.einsum("ij,njhw->nihw", mix, torch.randn(40, 6, 8, 8)) + 1
    conv = Conv(torch.randn(12, 6, 3, 3), torch.randn(12), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    net = network(conv, (1, 6, 8, 8))
    plain, aware = (rewritten(net, [x], form=form, keep=0.4, data_aware=on) for on in (False, True))
    assert describe(aware).parameters <= 0.41 * describe(net).parameters + 12
    assert outputs_error(net, aware, x) < 0.7 * outputs_error(net, plain, x)
    shift = (aware(x)[0] - net(x)[0]).mean((0, 2, 3))
    assert shift.abs().max() < 0.05  # the bias takes up the mean error (some patches stand for all)


def test_without_samples_data_aware_is_the_plain_form() -> None:
    net = two_layers()
    one, two = rewritten(net, None, form="channel"), rewritten(net, None, form="channel", data_aware=False)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(one(x)[0], two(x)[0])


def test_samples_that_are_always_zero_still_give_finite_factors() -> None:
    net = two_layers()
    for form in ("channel", "spatial", "tucker"):
        made = rewritten(net, [torch.zeros(4, 3, 8, 8)], form=form)
        assert torch.isfinite(made(torch.randn(2, 3, 8, 8))[0]).all()


def test_nan_in_samples_and_weights_is_an_error_that_names_the_layer() -> None:
    net = two_layers()
    with pytest.raises(DataError, match="'a' holds NaN"):
        rewritten(net, [torch.full((4, 3, 8, 8), float("nan"))])
    conv = Conv(torch.full((8, 4, 3, 3), float("inf")), None, (1, 1), (0,) * 4, (1, 1), 1)
    with pytest.raises(Refused, match="conv1: the weights hold NaN or infinite"):
        rewritten(network(conv, (1, 4, 8, 8)))


def test_a_moved_slider_takes_no_second_look_at_the_samples() -> None:
    net, looks, kept = two_layers(), [], {}

    def batches() -> Sequence[Tensor]:
        looks.append(1)
        return [torch.randn(4, 3, 8, 8)]

    for keep in (0.7, 0.5, 0.3):
        TECHNIQUE.rewrite(net, {"b": LowRankSettings(keep=keep)}, context(net, batches, kept))
    assert len(looks) == 1
    TECHNIQUE.rewrite(net, {n: LowRankSettings() for n in "ab"}, context(net, batches, kept))
    assert len(looks) == 2


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    opened = demo.open_demo()
    opened.cancel()
    yield opened
    opened.close()


def test_factors_take_every_further_step(session: Session) -> None:
    engine = session.engine
    layer = max(session.graph.weighted, key=lambda n: n.parameters).name
    low = Plan().with_step(layer, Step("low_rank", keep=0.5))
    assert engine.cost(low).flash_bytes < engine.cost(Plan()).flash_bytes
    both = low.with_step(layer, Step("quantize")).with_step(f"{layer}/1", Step("quantize", weight_bits=4))
    found = engine.encodings(both)
    assert found[f"{layer}/1"].width == 4  # type: ignore[attr-defined]
    assert found[f"{layer}/2"].width == 8  # type: ignore[attr-defined]
    assert engine.measure(both, 4).value > 0.5


def test_the_spectrum_is_that_of_the_layer_and_its_step(session: Session) -> None:
    engine = session.engine
    layer = max(session.graph.weighted, key=lambda n: n.parameters).name
    step = Step("low_rank", form="channel", keep=0.4, data_aware=False)
    found = engine.spectrum(Plan().with_step(layer, step), layer)
    weight = (
        session.engine.network.by_name[layer].operator.state_dict()["weight"].numpy().reshape(len(found.values), -1)
    )
    np.testing.assert_allclose(found.values, np.linalg.svd(weight, compute_uv=False), rtol=1e-4)
    factor = engine.variant(Plan().with_step(layer, step)).graph.layer(f"{layer}/1")
    assert found.rank == factor.output_shape[-1 if factor.kind == "linear" else 1]
    assert found.energy[-1] == 1.0
    aware = engine.spectrum(Plan(), layer)
    assert aware.values.shape[0] > 0
    assert not np.allclose(aware.values[: len(found.values)][:3], found.values[:3])


def test_the_spectrum_of_a_layer_that_refuses_is_refused(session: Session) -> None:
    relu = next(layer.name for layer in session.graph.layers if layer.kind == "relu")
    with pytest.raises(Refused, match="no weights to factor"):
        session.engine.spectrum(Plan(), relu)


def test_inputs_that_hardly_vary_about_a_large_mean_have_finite_moments() -> None:
    torch.manual_seed(0)
    x = 1000 + 1e-4 * torch.randn(4000, 12)
    found = input_moments(network(Linear(torch.randn(3, 12), torch.zeros(3)), (1, 12)), ["conv1"], [x])["conv1"]
    assert np.isfinite(found.root).all()
    assert np.linalg.matrix_rank(found.root) == 12
