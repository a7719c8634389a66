"""Which channels go, how many, and what the fit makes of the rest; numbers by hand or from numpy's least squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.core.errors import DataError
from studio.core.graph import Layer
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.content import weights_key
from studio.network.cost import describe
from studio.network.cutting import cut, remaining
from studio.network.groups import groups_of
from studio.network.network import Network, Node
from studio.techniques._channel_cut import group_scores, kept_channels
from studio.techniques._readers import Reader, elimination, readers_of
from studio.techniques._reestimate import reestimate
from studio.techniques._rewrite import RewriteContext
from studio.techniques.prune_channels import TECHNIQUE, PruneChannelsSettings

RNG = np.random.default_rng(5)


def values(*shape: int) -> Tensor:
    return torch.from_numpy(RNG.normal(0, 1, shape).astype(np.float32))


def conv(weight: Tensor) -> op.Conv:
    pads = (weight.shape[-1] // 2,) * 4
    return op.Conv(weight, torch.zeros(len(weight)), (1, 1), pads, (1, 1), 1)


def network(*nodes: tuple[str, op.Operator, tuple[str, ...]]) -> Network:
    made = [Node("x", "x", (), op.Input((1, 3, 6, 6))), *(Node(n, n, i, o) for n, o, i in nodes)]
    return Network("n", made, [made[-1].name])


def chain(first: Tensor, second: Tensor) -> Network:
    return network(("a", conv(first), ("x",)), ("r", plain.Relu(), ("a",)), ("b", conv(second), ("r",)))


def norms(*sizes: float) -> Tensor:
    """Filters (n, 3, 1, 1) of these root mean squares."""
    return torch.tensor(sizes, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 1, 1).clone()


def context_of(net: Network, samples: Sequence[Tensor] | None = None) -> RewriteContext:
    def scores(layer: str, criterion: str) -> np.ndarray:
        assert criterion == "l2"
        weight = net.by_name[layer].operator.state_dict()["weight"].numpy()
        return np.sqrt(np.square(weight).mean(tuple(range(1, weight.ndim))))

    def batches() -> Sequence[Tensor]:
        if samples is None:
            raise DataError("there is no data.", remedy="Give data.")
        return samples

    memory: dict[str, Any] = {}

    def remember(key: str, compute: Callable[[], Any]) -> Any:
        if key not in memory:
            memory[key] = compute()
        return memory[key]

    return RewriteContext(net, describe(net), scores, batches, remember, recall=memory.get)


def kept(net: Network, group: str, samples: Sequence[Tensor] | None = None, **settings: Any) -> list[int]:
    work = {group: PruneChannelsSettings(**settings)}
    return np.flatnonzero(kept_channels(net, work, context_of(net, samples))[group]).tolist()


LAYERWISE: Mapping[str, Any] = {"scope": "layer", "criterion": "l2", "reestimate": False}


def test_the_smallest_filters_go_floor_of_the_amount() -> None:
    net = chain(norms(3, 1, 5, 2, 4, 6, 8, 7), values(2, 8, 3, 3))
    assert kept(net, "a", amount=0.25, **LAYERWISE) == [0, 2, 4, 5, 6, 7]
    assert kept(net, "a", amount=0.37, **LAYERWISE) == [0, 2, 4, 5, 6, 7]  # 2.96 of 8
    assert kept(net, "a", amount=0.375, **LAYERWISE) == [2, 4, 5, 6, 7]
    assert kept(net, "a", amount=0.0, **LAYERWISE) == list(range(8))


def test_minimum_and_multiple_hold() -> None:
    net = chain(norms(3, 1, 5, 2, 4, 6, 8, 7), values(2, 8, 3, 3))
    assert kept(net, "a", amount=0.25, multiple=4, **LAYERWISE) == list(range(8))  # 6 kept would be no multiple
    assert kept(net, "a", amount=0.5, multiple=4, **LAYERWISE) == [2, 5, 6, 7]
    assert kept(net, "a", amount=0.95, multiple=4, **LAYERWISE) == [2, 5, 6, 7]
    assert kept(net, "a", amount=0.95, **LAYERWISE) == [6]
    assert kept(net, "a", amount=0.95, minimum=3, **LAYERWISE) == [5, 6, 7]
    assert kept(net, "a", amount=0.95, minimum=3, multiple=4, **LAYERWISE) == [2, 5, 6, 7]


def test_a_group_is_scored_by_the_mean_of_its_layers_each_normalised() -> None:
    net = network(
        ("a", conv(norms(1, 2, 3)), ("x",)),
        ("b", conv(norms(30, 20, 10)), ("x",)),
        ("s", plain.Add(), ("a", "b")),
        ("c", conv(values(2, 3, 1, 1)), ("s",)),
    )
    group = groups_of(net)["a"]
    found = group_scores(net, group, {"a": np.array([1.0, 2, 3]), "b": np.array([30.0, 20, 10])})
    assert found.tolist() == pytest.approx([1.0, 1.0, 1.0])  # (1/2 + 3/2) / 2, (1 + 1) / 2, (3/2 + 1/2) / 2


def test_global_scope_saves_the_share_of_multiplications_where_it_costs_least() -> None:
    # b's filters are all alike, a's grow: the scores' sums are 1 in each group.
    net = network(
        ("a", conv(norms(1, 1, 1, 1, 100, 100, 100, 100)), ("x",)),
        ("b", conv(values(8, 8, 1, 1)), ("a",)),
        ("c", conv(values(2, 8, 1, 1)), ("b",)),
    )
    settings = PruneChannelsSettings(amount=0.4, criterion="l2", reestimate=False)
    work = {"a": settings, "b": settings}
    flags = kept_channels(net, work, context_of(net))
    found = cut(net, flags)
    whole, left = describe(net).macs, describe(found).macs
    one = 36 * (3 + 8)  # the most that a single channel holds
    assert 0.6 * whole - one <= left <= 0.6 * whole
    assert flags["a"].tolist() == [False] * 4 + [True] * 4  # the four that cost next to nothing went first


def reader(rows: np.ndarray, weight: np.ndarray, columns: Mapping[int, Sequence[int]]) -> Reader:
    second = rows.T @ rows
    return Reader(weight.copy(), np.linalg.inv(second), {c: np.array(i) for c, i in columns.items()}, 1.0)


def least_error(rows: np.ndarray, weight: np.ndarray, columns: Sequence[int]) -> float:
    """Squared error of the best map from some columns to what all of them give, by numpy."""
    target = rows @ weight.T
    best = np.linalg.lstsq(rows[:, columns], target, rcond=None)[0]
    return float(np.square(target - rows[:, columns] @ best).sum())


def test_the_cost_of_an_elimination_is_the_error_of_the_best_fit() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (50, 8)) @ rng.normal(0, 1, (8, 8))
    weight = rng.normal(0, 1, (3, 8))
    columns = {7: [0, 1], 3: [2, 3], 9: [4, 5], 5: [6, 7]}
    curve = elimination([7, 3, 9, 5], [reader(rows, weight, columns)])
    left = dict(columns)
    for one, cost in zip(curve.order.tolist(), curve.cost, strict=True):
        errors = {c: least_error(rows, weight, [i for d in left if d != c for i in left[d]]) for c in left}
        assert one == min(errors, key=errors.__getitem__)
        assert cost == pytest.approx(errors[one], rel=1e-6)
        del left[one]
    assert len(curve.order) == 3


def test_a_repeated_channel_goes_first_and_the_fit_makes_up_for_it() -> None:
    first = values(4, 3, 3, 3)
    first[2] = first[0]
    net = chain(first, values(5, 4, 3, 3))
    samples = [values(40, 3, 6, 6) for _ in range(3)]
    curve = elimination(groups_of(net)["a"].classes.tolist(), readers_of(net, ["b"], samples)["b"])
    assert curve.order[0] in groups_of(net)["a"].classes[[0, 2]]
    work = {"a": PruneChannelsSettings(amount=0.25, scope="layer")}
    fitted = TECHNIQUE.rewrite(net, work, context_of(net, samples))
    x = torch.cat(samples)
    wanted, without = net(x)[0], cut(net, {"a": np.array([0, 1, 3])})(x)[0]
    assert (fitted(x)[0] - wanted).square().mean() < 2e-3 * (without - wanted).square().mean()


def test_the_fit_is_numpys_ridge_regression() -> None:
    nodes = [
        Node("x", "x", (), op.Input((1, 4))),
        Node("a", "a", ("x",), op.Linear(values(6, 4), values(6))),
        Node("r", "r", ("a",), plain.Relu()),
        Node("b", "b", ("r",), op.Linear(values(2, 6), values(2))),
    ]
    net = Network("n", nodes, ["b"])
    keep = {"a": np.array([0, 2, 3, 5])}
    small, x = cut(net, keep), values(300, 4)
    found = reestimate(net, small, remaining(net, keep), [x], ridge=0.1)
    rows = small.run((x,), keep=["r"])["r"].double().numpy()
    old = small.by_name["b"].operator.state_dict()["weight"].double().numpy()
    target = net(x)[0].double().numpy()
    mean = rows.mean(0)
    centred = rows - mean
    pull = (0.1 + 4 / 300) * np.square(centred).sum() / 4
    rest = target - target.mean(0) - centred @ old.T
    change = np.linalg.solve(centred.T @ centred + pull * np.eye(4), centred.T @ rest)
    weight = old + change.T
    fitted = found.by_name["b"].operator.state_dict()
    assert fitted["weight"].numpy() == pytest.approx(weight, abs=1e-5)
    assert fitted["bias"].numpy() == pytest.approx(target.mean(0) - mean @ weight.T, abs=1e-5)
    assert found.by_name["a"] is small.by_name["a"]


def test_the_last_layer_of_a_sum_makes_up_for_what_the_other_branch_lost() -> None:
    net = network(
        ("a", conv(values(6, 3, 1, 1)), ("x",)),
        ("r", plain.Relu(), ("a",)),
        ("s", conv(values(4, 6, 1, 1)), ("r",)),
        ("t", conv(values(4, 6, 3, 3)), ("r",)),
        ("y", plain.Add(), ("s", "t")),
    )
    keep, samples = {"a": np.array([0, 1, 3, 4])}, [values(60, 3, 6, 6)]
    small = cut(net, keep)
    fitted = reestimate(net, small, remaining(net, keep), samples)
    branch = fitted.with_nodes([small.by_name["t"] if n.name == "t" else n for n in fitted.nodes])
    wanted = net(samples[0])[0]
    errors = [float((one(samples[0])[0] - wanted).square().mean()) for one in (small, branch, fitted)]
    assert errors[2] < errors[1] < errors[0]


def test_depthwise_layers_are_fitted_channel_by_channel_and_transposed_ones_left() -> None:
    deep = op.Conv(values(4, 1, 3, 3), None, (1, 1), (1,) * 4, (1, 1), 4)
    up = op.ConvTranspose(values(4, 2, 2, 2), None, (2, 2), (0,) * 4, (0, 0), (1, 1), 1)
    net = network(
        ("a", conv(values(4, 3, 1, 1)), ("x",)),
        ("b", conv(values(4, 4, 1, 1)), ("a",)),
        ("d", deep, ("b",)),
        ("u", up, ("d",)),
    )
    keep, samples = {"a": np.array([0, 1])}, [values(50, 3, 6, 6)]
    small = cut(net, keep)
    fitted = reestimate(net, small, remaining(net, keep), samples)
    assert fitted.by_name["u"] is small.by_name["u"]
    assert fitted.by_name["d"].operator.state_dict()["weight"].shape == (4, 1, 3, 3)
    wanted = net(samples[0])[0]
    assert (fitted(samples[0])[0] - wanted).square().mean() < (small(samples[0])[0] - wanted).square().mean()


def test_the_network_handed_in_stays_and_the_same_comes_out_twice() -> None:
    net = chain(values(8, 3, 3, 3), values(5, 8, 3, 3))
    before, samples = weights_key(net), [values(20, 3, 6, 6)]
    work = {"a": PruneChannelsSettings(amount=0.5)}
    once = weights_key(TECHNIQUE.rewrite(net, work, context_of(net, samples)))
    assert weights_key(TECHNIQUE.rewrite(net, work, context_of(net, samples))) == once != before
    assert weights_key(net) == before
    nothing = {"a": PruneChannelsSettings(amount=0.0)}
    assert TECHNIQUE.rewrite(net, nothing, context_of(net, samples)) is net


def test_silent_inputs_and_nan_in_samples() -> None:
    net = chain(values(6, 3, 3, 3), values(5, 6, 3, 3))
    work = {"a": PruneChannelsSettings(amount=0.5)}
    found = TECHNIQUE.rewrite(net, work, context_of(net, [torch.zeros(20, 3, 6, 6)]))
    assert all(torch.isfinite(t).all() for t in found.state_dict().values())
    bad = values(20, 3, 6, 6)
    bad[3, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match=r"layer '\w+'.*NaN.*Check the preprocessing"):
        TECHNIQUE.rewrite(net, work, context_of(net, [bad]))


def test_without_data_the_error_says_what_else_can_be_done() -> None:
    net = chain(values(6, 3, 3, 3), values(5, 6, 3, 3))
    with pytest.raises(DataError, match=r"reconstruction needs some samples.*Or choose another criterion"):
        TECHNIQUE.rewrite(net, {"a": PruneChannelsSettings(amount=0.5)}, context_of(net))
    with pytest.raises(DataError, match=r"fitting .* needs some samples.*switch 'Fit again' .reestimate. off"):
        TECHNIQUE.rewrite(net, {"a": PruneChannelsSettings(amount=0.5, criterion="l2")}, context_of(net))
    work = {"a": PruneChannelsSettings(amount=0.5, criterion="l2", reestimate=False)}
    assert describe(TECHNIQUE.rewrite(net, work, context_of(net))).macs < describe(net).macs


def test_refusals() -> None:
    def reason(layer: Layer, **settings: Any) -> str:
        return TECHNIQUE.refuses(layer, PruneChannelsSettings(**settings)) or ""

    graph = describe(chain(values(6, 3, 3, 3), values(5, 6, 3, 3)))
    assert reason(graph.layer("b")) == "The channels of b must stay: they are the network's output."
    assert reason(graph.layer("a")) == ""
    assert reason(graph.layer("a"), minimum=6) == "The group of a has 6 channels that can go, and 6 must stay."
    assert reason(graph.layer("a"), multiple=8) == "The group of a has 6 channels that can go, and 8 must stay."
    assert reason(graph.layer("r")) == "r has no channels of its own to remove."
    silent = describe(network(("a", conv(values(6, 3, 3, 3)), ("x",)), ("b", conv(values(5, 6, 3, 3)), ("a",))))
    assert "ReLU" in reason(silent.layer("a"), criterion="apoz")
