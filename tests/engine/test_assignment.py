"""Learned assignment of shared values: against brute force, scikit-learn's shrinkage, and in whole networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS

from studio.core.encoding import Codebook, Dense, Encoding, Sparse, innermost
from studio.core.errors import Cancelled, DataError
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext
from studio.engine import assignment
from studio.engine.learn import learn_rounding
from studio.network.network import Network, Node
from studio.network.operators import Conv, ConvTranspose, Input, Linear, Operator
from studio.network.operators_plain import Relu
from studio.network.parameters import with_parameters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alike(count: int, width: int, seed: int) -> torch.Tensor:
    """Rows (1, count, width) whose values are correlated, as neighbouring places of a picture are."""
    made = generator(seed)
    return torch.randn(1, count, 1, generator=made) + 0.4 * torch.randn(1, count, width, generator=made) + 0.5


def nearest(tables: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (weight[..., None] - tables[:, :, None]).abs().argmin(-1)


def problem(seed: int, width: int = 6) -> tuple[assignment.Task, torch.Tensor, torch.Tensor]:
    """Task, table of five values and nearest indices of one filter."""
    rows, weight = alike(4000, width, seed), torch.randn(1, 1, width, generator=generator(seed))
    task = assignment.task_of(rows, rows @ weight.mT + 1, weight)
    tables = torch.tensor([[[0.0, -1.0, 0.9, 2.1, -2.0]]], dtype=torch.float64)
    return task, tables, nearest(tables, weight.double())


def test_the_choice_is_close_to_the_best_of_all() -> None:
    shares = []
    for seed in range(12):
        task, tables, quick = problem(seed)
        second, exact = task.second[0].numpy(), np.linalg.solve(task.second[0].numpy(), task.cross[0, :, 0].numpy())

        def errors(weights: np.ndarray, second: np.ndarray = second, exact: np.ndarray = exact) -> np.ndarray:
            return ((weights - exact) @ second * (weights - exact)).sum(-1)  # type: ignore[no-any-return]

        best = errors(np.array(list(itertools.product(tables[0, 0].tolist(), repeat=6)))).min()
        assigned = assignment.assign(task, tables, quick, torch.ones(1, 1, 6, dtype=torch.bool))
        found, plain = (float(errors(tables[0, 0][i[0, 0]].numpy())) for i in (assigned, quick))
        assert best - 1e-9 <= found <= plain + 1e-9
        shares.append((found / best, plain / best))
    now, before = np.median(shares, 0)
    assert now < 1.1  # of more than half the seeds it is the very best
    assert before > 1.3


def test_errors_and_bias_are_those_of_the_rows() -> None:
    rows, weight = alike(3000, 5, 1), torch.randn(1, 2, 5, generator=generator(2))
    targets = rows @ weight.mT + torch.tensor([3.0, -1.0])
    task = assignment.task_of(rows, targets, weight)
    coarse = torch.round(weight).double()
    y = rows.double() @ coarse.mT + task.bias(coarse)
    assert torch.allclose(y.mean(1), targets.double().mean(1), atol=1e-4)
    # Of so many rows all but the least share of 1 % is their own: the error is nearly theirs.
    own = float((y - targets).square().mean(1).sum())
    gained = task.errors(coarse) - task.errors(weight.double())
    assert gained == pytest.approx(own, rel=0.05)


@pytest.mark.parametrize("count", [40, 150, 1000])
def test_shrinkage_is_that_of_scikit_learn(count: int) -> None:
    # Scikit-learn leaves out terms of 2 / width, which at 200 inputs are 1 %.
    rows = alike(count, 200, 3)
    second = rows[0].numpy().astype(np.float64)
    other = OAS().fit(second)
    weight = torch.zeros(1, 1, 200)
    task = assignment.task_of(rows, rows @ weight.mT, weight)
    share = max(assignment.LEAST, float(other.shrinkage_))
    plain = np.cov(second.T, bias=True)
    expected = (1 - share) * plain + share * np.trace(plain) / 200 * np.eye(200)
    assert np.allclose(task.second[0].numpy(), expected, rtol=0.02, atol=1e-3)


def test_what_samples_do_not_show_stays_nearest() -> None:
    # Ten samples of a layer with 64 inputs that are all alike say nothing about single weights.
    made = generator(4)
    weight = torch.randn(1, 3, 64, generator=made)
    rows = torch.randn(1, 10, 64, generator=made)
    task = assignment.task_of(rows, rows @ weight.mT, weight)
    tables = torch.arange(-12, 13).double().expand(1, 3, -1) / 4
    quick = nearest(tables, weight.double())
    found = assignment.assign(task, tables, quick, torch.ones(1, 3, 64, dtype=torch.bool))
    shown = torch.randn(1, 2000, 64, generator=made).double()
    now, before = (
        float((shown @ (assignment.values_of(tables, i) - weight).mT).square().mean()) for i in (found, quick)
    )
    assert now < 1.5 * before


def test_what_is_not_free_keeps_its_value() -> None:
    task, tables, quick = problem(2, 12)
    free = torch.arange(12).reshape(1, 1, 12) % 3 > 0
    found = assignment.assign(task, tables, quick, free)
    assert (found[~free] == quick[~free]).all()
    assert (found != quick).any()


def network(seed: int = 0) -> Network:
    """A plain, a depthwise, a transposed grouped convolution and a linear layer over the channels."""
    made = generator(seed)
    square = {"stride": (1, 1), "pads": (1, 1, 1, 1), "dilation": (1, 1)}

    def weight(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=made) / np.sqrt(np.prod(shape[1:]))

    up = ConvTranspose(weight(8, 3, 2, 2), torch.zeros(6), (2, 2), (0,) * 4, (0, 0), (1, 1), 2)
    operators: list[tuple[str, Operator]] = [
        ("a", Conv(weight(8, 3, 3, 3), torch.ones(8), **square, groups=1)), ("ra", Relu()),
        ("b", Conv(weight(8, 1, 3, 3), None, **square, groups=8)), ("rb", Relu()),
        ("c", up), ("fc", Linear(weight(20, 12), torch.zeros(20))),
    ]  # fmt: skip
    nodes, last = [Node("x", "x", (), Input((1, 3, 6, 6)))], "x"
    for name, operator in operators:
        nodes.append(Node(name, name, (last,), operator))
        last = name
    return Network("mixed", nodes, ["fc"])


def shared(network: Network, pruned: str = "", **values: object) -> dict[str, Encoding]:
    step, found = Step("share_weights", **values), {}
    for node in network.nodes:
        if node.kind in ("conv", "conv_transpose", "linear"):
            weight = node.operator.weight.numpy()
            groups = getattr(node.operator, "groups", 1)
            layer = Layer(node.name, "", node.kind, "", (), (), (), weight.shape, 0, 0, 0, None, groups)
            before: Encoding = Dense(weight)
            if node.name == pruned:
                before = Sparse(np.random.default_rng(0).random(weight.shape) < 0.6, before)
            found[node.name] = step.found.encode(before, step.values, EncodeContext(layer))  # type: ignore[attr-defined]
    return found


SAMPLES = [alike(20 * 36, 3, seed).reshape(20, 6, 6, 3).movedim(-1, 1).contiguous() for seed in range(3)]


def output_error(network: Network, encodings: dict[str, Encoding], biases: dict[str, np.ndarray]) -> float:
    nodes = []
    for node in network.nodes:
        if node.name in encodings:
            bias = torch.from_numpy(biases[node.name]) if node.name in biases else node.operator.bias
            weight = torch.from_numpy(encodings[node.name].decode())
            node = replace(node, operator=with_parameters(node.operator, weight, bias))  # type: ignore[arg-type]
        nodes.append(node)
    x = alike(40 * 36, 3, 9).reshape(40, 6, 6, 3).movedim(-1, 1)
    return float((network.with_nodes(nodes)(x)[0] - network(x)[0]).square().mean())


def biases_of(network: Network, encodings: dict[str, Encoding]) -> dict[str, np.ndarray]:
    """Biases that learning gives to the values as they are."""
    dense = {name: Dense(encoding.decode()) for name, encoding in encodings.items()}
    return {name: one.bias for name, one in learn_rounding(network, dense, list(dense), SAMPLES).items()}


CHOICES = [{"bits": 2}, {"bits": 3, "blocks": 2}, {"limit": "error", "error": 0.1}]


@pytest.mark.parametrize("values", CHOICES, ids=["bits", "blocks", "error"])
def test_a_network_with_learned_values_is_nearer_to_the_float_one(values: dict[str, object]) -> None:
    made = network()
    encodings = shared(made, **values)
    learned = learn_rounding(made, encodings, list(encodings), SAMPLES)
    after = {name: one.encoding for name, one in learned.items()}
    biases = {name: one.bias for name, one in learned.items()}
    assert output_error(made, after, biases) < 0.7 * output_error(made, encodings, {})
    # The bias alone does not do it.
    assert output_error(made, after, biases) < 0.9 * output_error(made, encodings, biases_of(made, encodings))


@pytest.mark.parametrize("values", CHOICES, ids=["bits", "blocks", "error"])
def test_tables_stay_and_pruned_weights_stay_zero(values: dict[str, object]) -> None:
    made = network()
    encodings = shared(made, pruned="c", **values)
    for name, one in learn_rounding(made, encodings, list(encodings), SAMPLES).items():
        before, after = innermost(encodings[name]), innermost(one.encoding)
        assert isinstance(before, Codebook)
        assert isinstance(after, Codebook)
        assert replace(after, indices=before.indices).pack() == before.pack()
        zero = encodings[name].decode() == 0
        assert not one.encoding.decode()[zero].any()
        assert one.bias.shape == ({"a": 8, "b": 8, "c": 6, "fc": 20}[name],)


def test_a_layer_too_small_to_share_gets_its_bias_only() -> None:
    made = network()
    encodings = shared(made, bits=3) | {"b": Dense(made.by_name["b"].operator.weight.numpy())}
    found = learn_rounding(made, encodings, list(encodings), SAMPLES)["b"]
    assert found.encoding is encodings["b"]
    assert np.abs(found.bias).max() > 1e-3  # it makes good what the shared values of the layer before changed


def test_the_same_again_is_the_same() -> None:
    made = network()
    encodings = shared(made, bits=2)
    first, again = (learn_rounding(made, encodings, list(encodings), SAMPLES) for _ in range(2))
    for name in encodings:
        assert first[name].encoding.pack() == again[name].encoding.pack()
        assert first[name].bias.tobytes() == again[name].bias.tobytes()


def test_cancelling_stops_within_a_layer_and_progress_reaches_the_end() -> None:
    made = network()
    encodings = shared(made, bits=2)
    seen: list[tuple[str, int, int]] = []
    with pytest.raises(Cancelled):
        learn_rounding(
            made, encodings, list(encodings), SAMPLES, steps=10, progress=lambda *now: seen.append(now),
            stop=lambda: len(seen) == 2,
        )  # fmt: skip
    assert [name for name, _, _ in seen] == ["a", "b"]
    learn_rounding(made, encodings, list(encodings), SAMPLES, steps=10, progress=lambda *now: seen.append(now))
    assert seen[-1] == ("fc", 40, 40)


def test_silent_and_broken_inputs() -> None:
    made = network()
    encodings = shared(made, bits=2)
    silent = learn_rounding(made, encodings, list(encodings), [torch.zeros(8, 3, 6, 6)])
    assert all(np.isfinite(one.bias).all() for one in silent.values())
    with pytest.raises(DataError, match="'a'"):
        learn_rounding(made, encodings, list(encodings), [torch.full((8, 3, 6, 6), float("nan"))])
