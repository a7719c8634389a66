"""Folding: the same function with fewer nodes, and the places where it must not happen."""

from __future__ import annotations

import pytest
import torch

from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.fold import fold
from studio.network.network import Network, Node


class Built:
    """Network under construction from one input; each method returns the new node's name."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.nodes = [Node("x", "x", (), op.Input((1, *shape)))]
        self.made = torch.Generator().manual_seed(seed)

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.made)

    def add(self, operator: op.Operator, *inputs: str) -> str:
        name = f"{operator.kind}{len(self.nodes)}"
        self.nodes.append(Node(name, name, inputs or (self.nodes[-1].name,), operator))
        return name

    def constant(self, *shape: int, positive: bool = False) -> str:
        value = self.random(*shape)
        self.nodes.append(Node(f"c{len(self.nodes)}", "", (), op.Constant(value.abs() + 0.5 if positive else value)))
        return self.nodes[-1].name

    def conv(self, into: int, out: int, pads: int = 0, groups: int = 1, bias: bool = True) -> str:
        weight = self.random(out, into // groups, 3, 3) / 3
        return self.add(op.Conv(weight, self.random(out) if bias else None, (1, 1), (pads,) * 4, (1, 1), groups))

    def turned(self, into: int, out: int, groups: int = 1) -> str:
        weight = self.random(into, out // groups, 2, 2)
        return self.add(op.ConvTranspose(weight, None, (2, 2), (0,) * 4, (0, 0), (1, 1), groups))

    def linear(self, into: int, out: int) -> str:
        return self.add(op.Linear(self.random(out, into) / into**0.5, self.random(out)))

    def norm(self, channels: int, *inputs: str) -> str:
        var = torch.rand(channels, generator=self.made) + 0.1
        return self.add(
            op.BatchNorm(self.random(channels), self.random(channels), self.random(channels), var, 1e-3), *inputs
        )

    def join(self, operator: op.Operator, *shape: int, first: bool = False) -> str:
        """Operator on the last node and a constant."""
        before = self.nodes[-1].name
        constant = self.constant(*shape, positive=isinstance(operator, plain.Div))
        return self.add(operator, *((constant, before) if first else (before, constant)))

    def network(self, *outputs: str) -> Network:
        return Network("built", self.nodes, outputs or (self.nodes[-1].name,))


def assert_folds(built: Network, kinds: list[str]) -> Network:
    """Same outputs within float32, and exactly these kinds are left."""
    folded = fold(built)
    assert [node.kind for node in folded.nodes] == kinds
    x = torch.randn((4, *built.input_shape[1:]), generator=torch.Generator().manual_seed(9))
    for a, b in zip(built(x), folded(x), strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(a.abs().max()))
    return folded


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_behind_a_convolution(bias: bool) -> None:
    b = Built(3, 6, 6)
    name = b.conv(3, 5, pads=1, bias=bias)
    b.norm(5)
    b.add(plain.Relu())
    folded = assert_folds(b.network(), ["input", "conv", "relu"])
    assert folded.nodes[1].name == name


def test_batch_norm_behind_depthwise_transposed_and_linear_layers() -> None:
    b = Built(4, 6, 6)
    b.conv(4, 4, groups=4)
    b.norm(4)
    b.turned(4, 6, groups=2)
    b.norm(6)
    b.add(plain.Reshape((6 * 8 * 8,)))
    b.linear(384, 5)
    b.norm(5)
    assert_folds(b.network(), ["input", "conv", "conv_transpose", "reshape", "linear"])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (1, 5, 1, 1), (5, 1, 1)])
@pytest.mark.parametrize("operator", [plain.Add(), plain.Sub(), plain.Mul()])
def test_constants_of_channels(operator: op.Operator, shape: tuple[int, ...], first: bool) -> None:
    b = Built(3, 6, 6)
    b.conv(3, 5)
    b.join(operator, *shape, first=first)
    assert_folds(b.network(), ["input", "conv"])


def test_division_by_a_constant_folds_but_not_the_other_way_round() -> None:
    for first, kinds in ((False, ["input", "conv"]), (True, ["input", "conv", "constant", "div"])):
        b = Built(3, 6, 6)
        b.conv(3, 5)
        b.join(plain.Div(), 5, 1, 1, first=first)
        assert_folds(b.network(), kinds)


def test_a_chain_of_all_of_them() -> None:
    b = Built(3, 6, 6)
    b.conv(3, 5)
    b.norm(5)
    b.join(plain.Mul(), 5, 1, 1)
    b.join(plain.Add(), 5, 1, 1)
    b.norm(5)
    b.add(plain.Relu())
    assert_folds(b.network(), ["input", "conv", "relu"])


def test_bias_of_a_matmul() -> None:
    b = Built(3, 7)
    b.add(op.Linear(b.random(5, 7), None))
    b.join(plain.Add(), 5)
    assert_folds(b.network(), ["input", "linear"])


def test_scales_behind_pooling_and_flatten_go_forward() -> None:
    b = Built(3, 8, 8)
    b.conv(3, 4)
    b.add(plain.Relu())
    b.add(plain.MaxPool((2, 2), (2, 2), (0,) * 4))
    b.norm(4)
    b.add(plain.Reshape((36,)))
    b.linear(36, 5)
    assert_folds(b.network(), ["input", "conv", "relu", "max_pool", "reshape", "linear"])


def test_scales_in_front_of_an_unpadded_convolution_go_forward() -> None:
    b = Built(3, 8, 8)
    b.norm(3)
    b.conv(3, 4)
    assert_folds(b.network(), ["input", "conv"])


def test_subtracted_mean_and_scale_of_the_input_go_forward() -> None:
    b = Built(3, 8, 8)
    b.join(plain.Sub(), 1, 3, 1, 1)
    b.join(plain.Div(), 1, 3, 1, 1)
    b.conv(3, 4)
    assert_folds(b.network(), ["input", "conv"])


STAYS = {
    "padded zeros would be shifted": (lambda b: (b.norm(3), b.conv(3, 4, pads=1)), ["input", "batch_norm", "conv"]),
    "one value for each place": (
        lambda b: (b.conv(3, 4), b.join(plain.Mul(), 1, 1, 6, 6)), ["input", "conv", "constant", "mul"]),
    "a constant that adds an axis": (
        lambda b: (b.conv(3, 4), b.join(plain.Add(), 1, 1, 1, 1, 1)), ["input", "conv", "constant", "add"]),
    "a constant that widens the channels": (
        lambda b: (b.conv(3, 1), b.join(plain.Add(), 1, 4, 1, 1)), ["input", "conv", "constant", "add"]),
    "widened channels in front of a convolution": (
        lambda b: (b.conv(3, 1), b.add(plain.Relu()), b.join(plain.Add(), 1, 4, 1, 1), b.conv(4, 2)),
        ["input", "conv", "relu", "constant", "add", "conv"]),
    "an activation between": (
        lambda b: (b.conv(3, 4), b.add(plain.Relu()), b.norm(4)), ["input", "conv", "relu", "batch_norm"]),
}  # fmt: skip


@pytest.mark.parametrize("case", STAYS)
def test_what_must_stay(case: str) -> None:
    make, kinds = STAYS[case]
    b = Built(3, 8, 8)
    make(b)
    assert_folds(b.network(), kinds)


def test_a_layer_that_something_else_reads_stays() -> None:
    b = Built(3, 6, 6)
    conv = b.conv(3, 5)
    norm = b.norm(5)
    b.add(plain.Add(), conv, norm)
    assert_folds(b.network(), ["input", "conv", "batch_norm", "add"])


def test_a_layer_that_is_an_output_stays() -> None:
    b = Built(3, 6, 6)
    conv = b.conv(3, 5)
    norm = b.norm(5)
    assert_folds(b.network(conv, norm), ["input", "conv", "batch_norm"])


def test_a_folded_output_keeps_its_place() -> None:
    b = Built(3, 6, 6)
    conv = b.conv(3, 5)
    norm = b.norm(5)
    relu = b.add(plain.Relu())
    folded = assert_folds(b.network(relu, norm), ["input", "conv", "relu"])
    assert folded.outputs == (relu, conv)


def test_batch_norm_over_rows_is_not_one_over_a_linear_layers_outputs() -> None:
    """Rows and outputs are both five: axis 1 is that of the rows."""
    b = Built(5, 7)
    b.linear(7, 5)
    b.norm(5)
    assert_folds(b.network(), ["input", "linear", "batch_norm"])


def test_scales_of_rows_do_not_go_into_a_linear_layer() -> None:
    b = Built(5, 7)
    b.norm(5)
    b.linear(7, 4)
    assert_folds(b.network(), ["input", "batch_norm", "linear"])


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_compute_the_same(seed: int) -> None:
    """Random chains with batch norm, constants, branches and several outputs."""
    b = Built(3, 12, 12, seed=seed)
    channels, outputs = 3, []

    def pick(n: int) -> int:
        return int(torch.randint(n, (), generator=b.made))

    for _ in range(8):
        kind = pick(7)
        if kind < 2:
            wider = 2 + pick(4)
            b.conv(channels, wider, pads=pick(2) + kind % 2)
            channels = wider
        elif kind == 2:
            b.norm(channels)
        elif kind == 3:
            operator = (plain.Add(), plain.Sub(), plain.Mul(), plain.Div())[pick(4)]
            b.join(operator, *((), (channels, 1, 1), (1, channels, 1, 1))[pick(3)], first=bool(pick(2)))
        elif kind == 4:
            b.add(plain.Relu())
        elif kind == 5:
            last = b.nodes[-1].name
            b.add(plain.Add(), last, b.add(plain.Sigmoid(), last))
        elif b.nodes[-1].kind != "constant":
            outputs.append(b.nodes[-1].name)
    network = b.network(*dict.fromkeys([*outputs, b.nodes[-1].name]))
    x = torch.randn((3, 3, 12, 12), generator=b.made)
    for wanted, found in zip(network(x), fold(network)(x), strict=True):
        assert torch.allclose(wanted, found, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()), equal_nan=True)
