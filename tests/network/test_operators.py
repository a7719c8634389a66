"""Operators against numbers worked out by hand or by numpy; all kinds against ONNX Runtime: tests/formats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.content import operator_key, weights_key
from studio.network.network import Network, Node
from studio.network.shapes import tensor_shapes


def row(*values: float) -> torch.Tensor:
    return torch.tensor([[list(values)]], dtype=torch.float32)


def picture(size: int = 4) -> torch.Tensor:
    return torch.arange(size * size, dtype=torch.float32).reshape(1, 1, size, size)


HALVES = row(-2.0, -0.5, 0.0, 0.5, 3.0)
BY_HAND = [
    (plain.Relu(), HALVES, [0, 0, 0, 0.5, 3]),
    (plain.LeakyRelu(0.1), HALVES, [-0.2, -0.05, 0, 0.5, 3]),
    (plain.Prelu(torch.tensor([[-1.0]])), HALVES, [2, 0.5, 0, 0.5, 3]),
    (plain.Clip(-1.0, 1.0), HALVES, [-1, -0.5, 0, 0.5, 1]),
    (plain.Clip(-math.inf, 0.25), HALVES, [-2, -0.5, 0, 0.25, 0.25]),
    (plain.HardSigmoid(0.2, 0.5), HALVES, [0.1, 0.4, 0.5, 0.6, 1]),
    (plain.HardSwish(), HALVES, [-1 / 3, -0.5 * 2.5 / 6, 0, 0.5 * 3.5 / 6, 3]),
    (plain.Sigmoid(), row(0.0, math.log(3)), [0.5, 0.75]),
    (plain.Tanh(), row(0.0, math.log(2)), [0, 0.6]),
    (plain.Softmax(2), row(0.0, math.log(3)), [0.25, 0.75]),
    (plain.MaxPool((2,), (2,), (0, 0)), row(1, 5, 2, 4, 9), [5, 4]),
    (plain.MaxPool((2,), (2,), (0, 0), ceil=True), row(1, 5, 2, 4, 9), [5, 4, 9]),
    (plain.MaxPool((2,), (2,), (1, 0)), row(-3, -5, -2, -4), [-3, -2]),
    (plain.MaxPool((2,), (1,), (0, 0), dilation=(2,)), row(1, 5, 2, 4), [2, 5]),
    (plain.AveragePool((2,), (2,), (1, 1)), row(2, 4, 6, 8), [2, 5, 8]),
    (plain.AveragePool((2,), (2,), (1, 1), count_pads=True), row(2, 4, 6, 8), [1, 5, 4]),
    (plain.AveragePool((2,), (2,), (0, 0), ceil=True), row(2, 4, 6), [3, 6]),
    (plain.GlobalAveragePool(), row(1, 2, 6), [3]),
    (plain.ReduceMean((2,), False), row(1, 2, 6), [3]),
    (plain.Slice((2,), (1,), (5,), (2,)), row(0, 1, 2, 3, 4, 5), [1, 3]),
    (plain.Slice((2,), (5,), (-1,), (-2,)), row(0, 1, 2, 3, 4, 5), [5, 3, 1]),
    (plain.Slice((2,), (4,), (1,), (-1,)), row(0, 1, 2, 3, 4, 5), [4, 3, 2]),
    (plain.Pad((0, 0, 1, 0, 0, 2), "constant", 7.0), row(1, 2), [7, 1, 2, 7, 7]),
    (plain.Pad((0, 0, 2, 0, 0, 1), "reflect", 0.0), row(1, 2, 3), [3, 2, 1, 2, 3, 2]),
    (plain.Pad((0, 0, 2, 0, 0, 1), "edge", 0.0), row(1, 2, 3), [1, 1, 1, 2, 3, 3]),
    (plain.Gather(torch.tensor([2, 0, 2]), 2), row(5, 6, 7), [7, 5, 7]),
    (plain.Expand((3, 2)), row(5, 6), [5, 6, 5, 6, 5, 6]),
    (plain.Transpose((0, 2, 1)), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), [1, 3, 2, 4]),
    (plain.Resize((4,), "nearest", "asymmetric", "floor", (2.0,)), row(1, 3), [1, 1, 3, 3]),
    (plain.Resize((4,), "linear", "half_pixel", "", (2.0,)), row(1, 3), [1, 1.5, 2.5, 3]),
    (plain.Resize((3,), "linear", "align_corners", "", (1.5,)), row(1, 3), [1, 2, 3]),
    (plain.Resize((1,), "linear", "pytorch_half_pixel", "", (0.5,)), row(1, 3), [1]),
    (op.Conv(row(1, 2), None, (1,), (1, 0), (1,), 1), row(3, 4, 5), [6, 11, 14]),
    (op.Conv(row(1, 2), torch.tensor([10.0]), (2,), (0, 0), (2,), 1), row(3, 4, 5, 6, 7), [23, 29]),
    (op.ConvTranspose(row(1, 2), None, (2,), (0, 0), (0,), (1,), 1), row(3, 4), [3, 6, 4, 8]),
    (op.ConvTranspose(row(1, 2), None, (2,), (1, 0), (1,), (1,), 1), row(3, 4), [6, 4, 8, 0]),
    (op.Linear(torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([0.5, 0.0])), torch.tensor([[3.0, 4.0]]),
     [11.5, -4]),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(BY_HAND)), ids=lambda i: f"{i}-{BY_HAND[i][0].kind}")
def test_by_hand(i: int) -> None:
    operator, x, expected = BY_HAND[i]
    found = operator(x)
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_joins_broadcast() -> None:
    a, b = torch.tensor([[[4.0], [6.0]]]), torch.tensor([[[1.0, 2.0]]])
    found = {kind: operator(a, b).flatten().tolist() for kind, operator in (
        ("add", plain.Add()), ("sub", plain.Sub()), ("mul", plain.Mul()), ("div", plain.Div()))}  # fmt: skip
    assert found == {"add": [5, 6, 7, 8], "sub": [3, 2, 5, 4], "mul": [4, 8, 6, 12], "div": [4, 2, 6, 3]}


def test_batch_norm_by_its_formula() -> None:
    made = np.random.default_rng(0)
    x = made.normal(size=(2, 3, 4, 5)).astype(np.float32)
    scale, shift, mean, var = (made.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    found = op.BatchNorm(*(torch.from_numpy(v) for v in (scale, shift, mean, var)), 1e-3)(torch.from_numpy(x))
    a, b, c, d = (v.astype(np.float64).reshape(1, 3, 1, 1) for v in (scale, shift, mean, var))
    assert np.allclose(found.detach().numpy(), (x - c) / np.sqrt(d + 1e-3) * a + b, atol=1e-5)


def test_grouped_convolution_sums_its_own_channels_only() -> None:
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1)
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1)
    assert op.Conv(weight, None, (1,), (0, 0), (1,), 2)(x).flatten().tolist() == [21.0, 4300.0]


def test_reshape_keeps_the_batch_unless_told() -> None:
    x = torch.zeros((5, 2, 3))
    assert plain.Reshape((6,))(x).shape == (5, 6)
    assert plain.Reshape((10, 3), keep_batch=False)(x).shape == (10, 3)


def net(weight: torch.Tensor, stride: int = 1) -> Network:
    nodes = [
        Node("x", "x", (), op.Input((1, 1, 4, 4))),
        Node("conv", "conv", ("x",), op.Conv(weight, None, (stride, stride), (0,) * 4, (1, 1), 1)),
        Node("relu", "relu", ("conv",), plain.Relu()),
    ]
    return Network("n", nodes, ["relu"])


def test_equal_content_has_equal_keys() -> None:
    weight = torch.randn((2, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    assert weights_key(net(weight)) == weights_key(net(weight.clone()))


def test_any_change_changes_the_key() -> None:
    weight = torch.randn((2, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    other = weight.clone()
    other[1, 0, 1, 1] = torch.nextafter(other[1, 0, 1, 1], torch.tensor(9.0))
    turned = weight.transpose(2, 3)
    keys = {weights_key(net(w)) for w in (weight, other, turned)} | {weights_key(net(weight, stride=2))}
    assert len(keys) == 4
    assert operator_key(plain.Clip(0.0, 6.0)) != operator_key(plain.Clip(0.0, 5.0))
    assert operator_key(plain.Relu()) != operator_key(plain.Sigmoid())


def test_only_outputs_and_what_is_asked_for_are_kept() -> None:
    found = net(torch.ones((1, 1, 2, 2))).run([picture()], keep=["conv"])
    assert set(found) == {"conv", "relu"}


def test_a_batch_that_is_not_free_runs_sample_by_sample() -> None:
    nodes = [Node("x", "x", (), op.Input((1, 2))), Node("y", "y", ("x",), plain.Reshape((1, 2), keep_batch=False))]
    network = Network("n", nodes, ["y"], free_batch=False)
    assert network(torch.arange(6.0).reshape(3, 2))[0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_shapes_are_those_of_a_run() -> None:
    network = net(torch.ones((3, 1, 2, 2)), stride=2)
    shapes: dict[str, tuple[int, ...]] = {}
    network.run([picture()], lambda node, value: shapes.__setitem__(node.name, tuple(value.shape)))
    assert tensor_shapes(network) == shapes == {"x": (1, 1, 4, 4), "conv": (1, 3, 2, 2), "relu": (1, 3, 2, 2)}
