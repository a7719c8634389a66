"""Small random networks in which channels are added, joined, split, shuffled, squeezed and flattened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node

BLOCKS = (
    "conv", "activation", "depthwise", "grouped", "transposed", "residual", "concat", "squeeze", "shortcut", "shuffle",
    "split", "reverse", "scale", "norm", "pool", "widen", "pick",
)  # fmt: skip
ENDS = ("flatten", "pool", "rows")


class Builder:
    """Adds nodes on an input (1, 3, 6, 6); `top` is the newest tensor."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes = [Node("x", "x", (), op.Input((1, 3, 6, 6)))]
        self.top, self.channels, self.places = "x", 3, 6

    def values(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.normal(0, 1, shape).astype(np.float32))

    def add(self, operator: op.Operator, *inputs: str) -> str:
        name = f"{operator.kind}{len(self.nodes)}"
        self.nodes.append(Node(name, name, inputs or (self.top,), operator))
        self.top = name
        return name

    def convolve(self, out: int, kernel: int = 3, groups: int = 1, source: str | None = None) -> str:
        weight = self.values(out, self.channels // groups, kernel, kernel)
        bias = self.values(out) if self.rng.random() < 0.7 else None
        pads = (kernel // 2,) * 4
        name = self.add(op.Conv(weight, bias, (1, 1), pads, (1, 1), groups), source or self.top)
        self.channels = out
        return name

    def activate(self) -> str:
        made = [
            plain.Relu(), plain.Sigmoid(), plain.HardSwish(), plain.Clip(-0.5, 2.0), plain.HardSigmoid(0.2, 0.5),
            plain.Prelu(self.values(self.channels, 1, 1)), plain.LeakyRelu(0.1),
        ]  # fmt: skip
        return self.add(made[self.rng.integers(len(made))])

    def block(self, kind: str) -> None:
        getattr(self, f"_{kind}")()

    def _conv(self) -> None:
        self.convolve(int(self.rng.integers(1, 5)) * 2)
        self.activate()

    def _activation(self) -> None:
        self.activate()

    def _depthwise(self) -> None:
        self.convolve(self.channels * int(self.rng.integers(1, 3)), groups=self.channels)

    def _grouped(self) -> None:
        self.convolve(8, 1)
        self.activate()
        self.convolve(12, groups=[2, 4][self.rng.integers(2)])

    def _transposed(self) -> None:
        groups = [1, 1, 2, self.channels][self.rng.integers(4)]
        groups = groups if self.channels % groups == 0 else 1
        weight = self.values(self.channels, 3, 3, 3)
        made = op.ConvTranspose(weight, self.values(3 * groups), (1, 1), (1,) * 4, (0, 0), (1, 1), groups)
        self.add(made)
        self.channels = 3 * groups

    def _residual(self) -> None:
        before = self.top
        self.convolve(self.channels)
        if self.rng.random() < 0.5:
            self.activate()
        self.add([plain.Add(), plain.Sub(), plain.Mul()][self.rng.integers(3)], self.top, before)

    def _concat(self) -> None:
        before, channels = self.top, self.channels
        first = self.convolve(4, source=before)
        self.channels = channels
        second = self.convolve(5, 1, source=before)
        self.add(plain.Concat(1), first, before, second)
        self.channels = 9 + channels

    def _squeeze(self) -> None:
        before, channels = self.top, self.channels
        self.add(plain.GlobalAveragePool())
        self.convolve(4, 1)
        self.add(plain.Relu())
        self.convolve(channels, 1)
        self.add(plain.Sigmoid())
        self.add(plain.Mul(), before, self.top)

    def _shortcut(self) -> None:
        before, channels = self.top, self.channels
        self.convolve(channels + 4)
        main = self.top
        padded = self.add(plain.Pad((0, 3, 0, 0, 0, 1, 0, 0), "constant", 0.5), before)
        self.add(plain.Add(), main, padded)

    def _shuffle(self) -> None:
        self.convolve(8, 1)
        self.add(plain.Reshape((2, 4, self.places, self.places)))
        self.add(plain.Transpose((0, 2, 1, 3, 4)))
        self.add(plain.Reshape((8, self.places, self.places)))

    def _split(self) -> None:
        self.convolve(8, 1)
        whole = self.top
        left = self.add(plain.Slice((1,), (0,), (3,), (1,)), whole)
        right = self.add(plain.Slice((1,), (3,), (8,), (1,)), whole)
        self.channels = 5
        other = self.convolve(5, source=right)
        self.add(plain.Concat(1), other, left)
        self.channels = 8

    def _reverse(self) -> None:
        self.convolve(6, 1)
        whole = self.top
        back = self.add(plain.Slice((1,), (5,), (-7,), (-1,)), whole)
        odd = self.add(plain.Slice((1,), (1,), (6,), (2,)), whole)
        self.add(plain.Concat(1), back, odd)
        self.channels = 9

    def _scale(self) -> None:
        self.convolve(6, 1)
        shape = [(1, 6, 1, 1), (6, 1, 1), (1, 6, 6, 6), (1, 1, 6, 6), (1,)][self.rng.integers(5)]
        constant = Node(f"k{len(self.nodes)}", "k", (), op.Constant(self.values(*shape)))
        self.nodes.append(constant)
        self.add(
            [plain.Add(), plain.Mul()][self.rng.integers(2)], *[self.top, constant.name][:: self.rng.choice([1, -1])]
        )

    def _norm(self) -> None:
        mean, var = self.values(self.channels), self.values(self.channels).abs() + 0.5
        self.add(op.BatchNorm(self.values(self.channels), self.values(self.channels), mean, var, 1e-5))

    def _pool(self) -> None:
        self.add(
            [plain.MaxPool((3, 3), (1, 1), (1,) * 4), plain.AveragePool((3, 3), (1, 1), (1,) * 4)][self.rng.integers(2)]
        )

    def _widen(self) -> None:
        self.add(plain.Slice((2,), (0,), (3,), (1,)))
        self.add(plain.Resize((6, 6), "nearest", "asymmetric", "floor", (2.0, 1.0)))

    def _pick(self) -> None:
        self.convolve(7, 1)
        self.add(plain.Gather(torch.tensor([6, 0, 2, 2, 5]), 1))
        self.channels = 5

    def end(self, kind: str) -> Network:
        inputs = self.channels
        if kind == "flatten":
            inputs *= self.places**2
            self.add(plain.Reshape((inputs,)))
        elif kind == "pool":
            self.add(plain.ReduceMean((2, 3), False))
        else:
            self.add(plain.Transpose((0, 2, 3, 1)))
        self.add(op.Linear(self.values(5, inputs), self.values(5)))
        self.add(plain.Relu())
        self.add(op.Linear(self.values(3, 5), None))
        return Network("random", self.nodes, [self.top])


def random_network(blocks: Sequence[str], end: str, seed: int) -> Network:
    """Network of the named blocks behind a first convolution."""
    builder = Builder(seed)
    builder.block("conv")
    for kind in blocks:
        builder.block(kind)
    return builder.end(end)
