"""Learned rounding: against brute force on small layers, and over small networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.core.encoding import Encoding, Grid, Sparse
from studio.core.errors import Cancelled
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext
from studio.engine import rounding
from studio.engine.learn import Learned, learn_rounding, neighbours
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input, Linear
from studio.network.operators_plain import Add, Relu


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_of(seed: int, bounds: tuple[float, float] | None = None) -> rounding.Task:
    """Six weights with correlated inputs, so that nearest rounding is not best."""
    made = generator(seed)
    common = torch.randn(1, 400, 1, generator=made)
    rows = common + 0.3 * torch.randn(1, 400, 6, generator=made) + 0.5
    weight = torch.randn(1, 1, 6, generator=made)
    lower = torch.floor(weight / 0.5) * 0.5
    return rounding.Task(rows, rows @ weight.mT, weight, lower, lower + 0.5, torch.zeros(1, 1, 1), bounds)


@pytest.mark.parametrize("seed", range(6))
def test_the_fit_is_close_to_the_best_of_all_roundings(seed: int) -> None:
    task = task_of(seed)
    errors = []
    for choice in itertools.product((False, True), repeat=6):
        found = torch.where(torch.tensor(choice).reshape(1, 1, 6), task.upper, task.lower)
        errors.append(float(task.errors(found, rounding.centred(task, found)).mean()))
    nearest = torch.where(task.weight - task.lower > 0.25, task.upper, task.lower)
    plain = float(task.errors(nearest, rounding.centred(task, nearest)).mean())
    fitted = rounding.fit(task, 300, generator(), scales="fixed")
    error = float(task.errors(torch.where(fitted.above, task.upper, task.lower), fitted.bias).mean())
    assert min(errors) - 1e-6 <= error <= min(1.5 * min(errors), plain) + 1e-6


def test_least_squares_finds_scale_and_bias_that_numpy_finds() -> None:
    task = task_of(1)
    fitted = rounding.fit(task, 100, generator(), scales="own")
    z = (task.rows @ torch.where(fitted.above, task.upper, task.lower).mT).reshape(-1).double().numpy()
    y = task.targets.reshape(-1).double().numpy()
    slope, shift = np.polyfit(z, y, 1)
    assert float(fitted.factor) == pytest.approx(slope, rel=1e-3)
    assert float(fitted.bias) == pytest.approx(shift, abs=1e-3)


def test_what_an_activation_hides_does_not_count() -> None:
    """Targets far below zero behind a ReLU: any rounding that stays below is without error."""
    task = task_of(0, (0.0, float("inf")))
    hidden = replace(task, targets=task.targets - 100)
    assert float(hidden.errors(task.weight, torch.full((1, 1, 1), -100.0)).mean()) == 0
    fitted = rounding.fit(hidden, 20, generator())
    weight = torch.where(fitted.above, task.upper, task.lower) * fitted.factor
    assert float(hidden.errors(weight, fitted.bias).mean()) == 0


def test_learning_is_never_worse_than_nearest_with_fitted_scales() -> None:
    for seed in range(4):
        task = task_of(seed)
        none = rounding.fit(task, 0, generator())
        some = rounding.fit(task, 60, generator())
        errors = [
            float(task.errors(torch.where(f.above, task.upper, task.lower) * f.factor, f.bias).mean())
            for f in (some, none)
        ]
        assert errors[0] <= errors[1] + 1e-7


@pytest.mark.parametrize(("bits", "power"), [(1, False), (2, False), (4, False), (3, True)])
def test_neighbours_lie_around_each_weight(bits: int, power: bool) -> None:
    weight = np.random.default_rng(0).uniform(-1.2, 1.2, (4, 6)).astype(np.float32)
    ones = np.ones((4, 6), np.int8)
    most = {(1, False): 1, (2, False): 1, (4, False): 7, (3, True): 4}[bits, power]
    grid = Grid(ones, np.full(4, 1 / most, np.float32), 0, bits, power)
    lower, upper = neighbours(grid, None, weight)
    inside = np.abs(weight) <= 1
    assert (lower[inside] / most <= weight[inside] + 1e-6).all()
    assert (weight[inside] <= upper[inside] / most + 1e-6).all()
    replace(grid, q=lower), replace(grid, q=upper)  # both are integers of the grid


def network(seed: int = 0) -> Network:
    """Two convolutions with a shortcut between, and a linear layer without bias."""
    made = generator(seed)
    first = Conv(
        torch.randn(8, 3, 3, 3, generator=made) / 5, torch.randn(8, generator=made), (1, 1), (1,) * 4, (1, 1), 1
    )
    second = Conv(torch.randn(8, 8, 3, 3, generator=made) / 8, None, (1, 1), (1,) * 4, (1, 1), 1)
    third = Conv(torch.randn(4, 8, 6, 6, generator=made) / 17, None, (1, 1), (0,) * 4, (1, 1), 1)
    nodes = [
        Node("x", "x", (), Input((1, 3, 6, 6))), Node("a", "a", ("x",), first), Node("r", "r", ("a",), Relu()),
        Node("b", "b", ("r",), second), Node("add", "add", ("b", "r"), Add()), Node("c", "c", ("add",), third),
    ]  # fmt: skip
    return Network("three", nodes, ["c"])


def quick(network: Network, **settings: object) -> dict[str, Encoding]:
    step = Step("quantize", **settings)
    found = {}
    for node in network.nodes:
        if node.kind in ("conv", "linear"):
            weight = node.operator.weight.numpy()
            layer = Layer(node.name, "", node.kind, "", (), (), (), weight.shape, 0, 0, 0, None)
            found[node.name] = step.found.encode(_dense(weight), step.values, EncodeContext(layer))  # type: ignore[attr-defined]
    return found


def _dense(weight: np.ndarray) -> Encoding:
    from studio.core.encoding import Dense

    return Dense(weight)


def pictures(count: int, seed: int) -> torch.Tensor:
    """Samples whose neighbouring places and channels are alike, as in pictures."""
    made = generator(seed)
    flat = torch.randn(count, 1, 1, 1, generator=made) + 0.5 * torch.randn(count, 3, 1, 1, generator=made)
    return 0.5 + flat + 0.3 * torch.randn(count, 3, 6, 6, generator=made)


SAMPLES = [pictures(20, seed) for seed in range(3)]


def output_error(network: Network, encodings: dict[str, Encoding], biases: dict[str, np.ndarray]) -> float:
    from studio.network.parameters import with_parameters

    nodes = []
    for node in network.nodes:
        if node.name in encodings:
            bias = torch.from_numpy(biases[node.name]) if node.name in biases else node.operator.bias
            weight = torch.from_numpy(encodings[node.name].decode())
            node = replace(node, operator=with_parameters(node.operator, weight, bias))
        nodes.append(node)
    x = pictures(40, 9)
    return float((network.with_nodes(nodes)(x)[0] - network(x)[0]).square().mean())


def test_a_network_with_learned_rounding_is_nearer_to_the_float_one() -> None:
    made = network()
    for bits in (2, 3, 4):
        encodings = quick(made, weight_bits=bits)
        learned = learn_rounding(made, encodings, list(encodings), SAMPLES, steps=200)
        after = {name: one.encoding for name, one in learned.items()}
        biases = {name: one.bias for name, one in learned.items()}
        assert output_error(made, after, biases) < 0.6 * output_error(made, encodings, {})


def test_integers_are_neighbours_and_bits_stay() -> None:
    made = network()
    encodings = quick(made, weight_bits=3)
    learned = learn_rounding(made, encodings, ["a", "c"], SAMPLES, steps=50)
    assert list(learned) == ["a", "c"]
    for name, one in learned.items():
        before, after = encodings[name], one.encoding
        assert isinstance(before, Grid)
        assert isinstance(after, Grid)
        lower, upper = neighbours(before, None, made.by_name[name].operator.weight.numpy())
        assert ((after.q == lower) | (after.q == upper)).all()
        assert after.bits() == before.bits()
        assert one.bias.shape == (len(after.q),)


def test_pruned_weights_stay_zero_at_every_width() -> None:
    made = network()
    for bits in (1, 4):
        encodings = quick(made, weight_bits=bits)
        mask = np.random.default_rng(0).random((8, 8, 3, 3)) < 0.5
        encodings["b"] = Sparse(mask, encodings["b"])
        found = learn_rounding(made, encodings, ["b"], SAMPLES, steps=30)["b"].encoding
        assert isinstance(found, Sparse)
        assert not found.decode()[~mask].any()


def test_the_same_again_is_the_same_and_known_layers_are_not_learned_again() -> None:
    made = network()
    encodings = quick(made, weight_bits=4)
    heard: list[str] = []
    first = learn_rounding(made, encodings, list(encodings), SAMPLES, steps=30, found=lambda n, _: heard.append(n))
    assert heard == ["a", "b", "c"]
    part = {"a": first["a"], "b": first["b"]}
    again = learn_rounding(
        made, encodings, list(encodings), SAMPLES, steps=30, known=part, found=lambda n, _: heard.append(n)
    )
    assert heard == ["a", "b", "c", "c"]
    assert again["a"] is first["a"]
    assert again["c"].encoding.pack() == first["c"].encoding.pack()
    assert again["c"].bias.tobytes() == first["c"].bias.tobytes()


def test_cancelling_keeps_what_is_there() -> None:
    made = network()
    encodings = quick(made, weight_bits=4)
    found: dict[str, Learned] = {}
    with pytest.raises(Cancelled):
        learn_rounding(
            made, encodings, list(encodings), SAMPLES, steps=20, found=found.__setitem__, stop=lambda: "a" in found
        )
    assert list(found) == ["a"]


def test_progress_counts_layers_and_steps() -> None:
    made = network()
    encodings = quick(made, weight_bits=4)
    seen: list[tuple[str, int, int]] = []
    learn_rounding(made, encodings, list(encodings), SAMPLES, steps=5, progress=lambda *now: seen.append(now))
    assert [done for _, done, _ in seen] == list(range(1, 16))
    assert seen[-1] == ("c", 15, 15)


def test_a_frozen_batch_is_run_singly() -> None:
    made = network()
    frozen = Network("three", made.nodes, made.outputs, free_batch=False)
    encodings = quick(made, weight_bits=4)
    free, single = (learn_rounding(n, encodings, ["a"], [SAMPLES[0]], steps=20)["a"] for n in (made, frozen))
    assert np.allclose(free.bias, single.bias, atol=1e-4)


def test_a_layer_that_is_never_active_is_learned_without_nan() -> None:
    operator = Linear(torch.randn(3, 4, generator=generator()), torch.zeros(3))
    made = Network("dead", [Node("x", "x", (), Input((1, 4))), Node("fc", "fc", ("x",), operator)], ["fc"])
    encodings = quick(made, weight_bits=2)
    found = learn_rounding(made, encodings, ["fc"], [torch.zeros(8, 4)], steps=20)["fc"]
    assert np.isfinite(found.bias).all()
    assert np.isfinite(found.encoding.decode()).all()
