"""Random networks as .tflite: however views, joins and windows follow each other, all integers are the program's."""

import math
import random

import numpy as np
import pytest
import torch

from studio.core.encoding import Grid
from studio.export._tflite.write import write
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.runtimes.litert import LiteRtRunner

NETWORKS, SAMPLES = 60, 2
SHAPES = ((3, 8, 8), (4, 6, 10), (6, 5, 5), (4, 7, 9), (8, 12))


class Grower:
    """Adds random operators to a network; a tensor's shape is without the batch."""

    def __init__(self, seed):
        self.random, self.made = random.Random(seed), torch.Generator().manual_seed(seed)
        shape = self.random.choice(SHAPES)
        self.nodes, self.shapes, self.at = [Node("x", "x", (), op.Input((1, *shape)))], {}, "x"
        self.put(self.conv(shape), shape)
        for _ in range(self.random.randint(3, 8)):
            if self.random.random() < 0.15:
                self.at = self.random.choice(list(self.shapes))
            self.grow(self.shapes[self.at])

    def network(self):
        outputs = dict.fromkeys([self.at, self.random.choice(list(self.shapes))])
        return Network("random", self.nodes, tuple(outputs))

    def put(self, operator, *shapes, inputs=None):
        name = f"{operator.kind}{len(self.nodes)}"
        found = operator(*[torch.zeros(1, *shape) for shape in shapes])
        self.nodes.append(Node(name, name, inputs or (self.at,), operator))
        self.shapes[name], self.at = tuple(found.shape[1:]), name

    def grow(self, shape):
        choose, rank = self.random.choice, len(shape)
        axis = self.random.randint(1, rank)
        size = shape[axis - 1]
        start = self.random.randrange(size)
        spatial = rank in (2, 3)
        made = {
            "conv": lambda: self.conv(shape) if spatial else None,
            "max pool": lambda: plain.MaxPool(*self.window(shape)) if spatial else None,
            "average pool": lambda: plain.AveragePool(*self.window(shape), count_pads=choose((True, False)))
            if spatial else None,
            "mean": lambda: plain.ReduceMean(tuple(range(2, rank + 1)), choose((True, False))) if rank > 1 else None,
            "clip": lambda: plain.Clip(*choose([(0.0, 6.0), (-1.0, 1.0), (-0.5, math.inf), (0.0, 0.8)])),
            "slice": lambda: plain.Slice((axis,), (start,), (self.random.randint(start + 1, size),), (choose((1, 2)),)),
            "turned slice": lambda: plain.Slice((axis,), (size - 1,), (-1,), (-1,)),
            "pad": lambda: plain.Pad((0, *self.bits(rank), 0, *self.bits(rank)), "constant", 0.0),
            "transpose": lambda: plain.Transpose((0, *self.random.sample(range(1, rank + 1), rank))),
            "reshape": lambda: plain.Reshape(self.factors(math.prod(shape), choose((1, 2, 3, 3, 4)))),
            "resize": lambda: self.resize(shape) if rank == 3 and max(shape[1:]) < 20 else None,
            "gather": lambda: plain.Gather(torch.tensor([start, 0, size - 1]), axis),
            "gather one": lambda: plain.Gather(torch.tensor(start), axis) if rank > 1 else None,
            "linear": lambda: self.linear(size) if rank == 1 else None,
        }  # fmt: skip
        kind = choose([*made, "conv", "transpose", "reshape", "add", "mul", "concat", "concat"])
        if kind in made:
            operator = made[kind]()
            if operator is not None:
                self.put(operator, shape)
            return
        axis = axis if kind == "concat" else 0
        others = [n for n, s in self.shapes.items() if len(s) == rank and s[: axis - 1] == shape[: axis - 1]]
        fits = [n for n in others if self.shapes[n] == shape or (axis and self.shapes[n][axis:] == shape[axis:])]
        other = choose(fits or [self.at])
        operator = {"add": plain.Add, "mul": plain.Mul}[kind]() if kind != "concat" else plain.Concat(axis)
        if kind == "concat" or self.shapes[other] == shape:
            self.put(operator, shape, self.shapes[other], inputs=(self.at, other))

    def bits(self, count):
        return tuple(self.random.randint(0, 1) for _ in range(count))

    def factors(self, size, count):
        found = []
        for _ in range(count - 1):
            found.append(self.random.choice([n for n in range(1, size + 1) if size % n == 0]))
            size //= found[-1]
        return tuple(self.random.sample([*found, size], count))

    def window(self, shape):
        kernel = tuple(self.random.randint(1, min(3, n)) for n in shape[1:])
        pads = tuple(self.random.randint(0, k // 2) for k in kernel) * 2
        return kernel, tuple(self.random.randint(1, 2) for _ in kernel), pads, self.random.random() < 0.3

    def conv(self, shape):
        kernel = tuple(self.random.randint(1, min(3, n)) for n in shape[1:])
        groups = self.random.choice([n for n in (1, 2, shape[0]) if shape[0] % n == 0])
        fan = shape[0] // groups * math.prod(kernel)
        weight = torch.randn((groups * self.random.randint(1, 3), shape[0] // groups, *kernel), generator=self.made)
        stride = tuple(self.random.randint(1, 2) for _ in kernel)
        bias = torch.randn(len(weight), generator=self.made)
        pads, dilation = self.bits(2 * len(kernel)), (1,) * len(kernel)
        return op.Conv(weight / math.sqrt(fan), bias, stride, pads, dilation, groups)

    def linear(self, size):
        weight = torch.randn((self.random.randint(1, 6), size), generator=self.made) / math.sqrt(size)
        return op.Linear(weight, torch.randn(len(weight), generator=self.made))

    def resize(self, shape):
        size = tuple(max(1, int(n * self.random.choice([0.5, 1.3, 2.0]))) for n in shape[1:])
        scale = tuple(after / before for after, before in zip(size, shape[1:], strict=True))
        rounding = self.random.choice(["floor", "ceil", "round_prefer_ceil", "round_prefer_floor"])
        return plain.Resize(size, "nearest", self.random.choice(["asymmetric", "half_pixel"]), rounding, scale)


def lowered(network):
    x = torch.randn((SAMPLES, *network.input_shape[1:]), generator=torch.Generator().manual_seed(7))
    ranges = {}
    network.run((x,), visit=lambda node, v: ranges.__setitem__(node.name, (float(v.min()), float(v.max()))))
    encodings = {}
    for node in network.nodes:
        if node.kind in ("conv", "linear"):
            weight = node.operator.weight.numpy()
            scale = (np.abs(weight).reshape(len(weight), -1).max(1) / 127).astype(np.float32)
            q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
            encodings[node.name] = Grid(q, scale, 0, 8)
    return lower(network, encodings, ranges), x


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_random_networks_are_bit_equal(seed, tmp_path):
    made, x = lowered(Grower(seed).network())
    path = tmp_path / "model.tflite"
    path.write_bytes(write(made))
    names = [o.output for o in made.operations if made.tensors[o.output].format is not None]
    ours = execute.run_program(made, x, "tflite", keep=names)
    with LiteRtRunner(path) as runner:
        theirs, outputs = runner.tensors(x.numpy(), names), runner.run(x.numpy())
    assert len(theirs) > 1
    for name, found in theirs.items():
        assert found.shape == tuple(ours[name].shape), name
        assert np.array_equal(found, ours[name].numpy()), name
    for name, found in zip(made.outputs, outputs, strict=True):
        assert np.array_equal(found, ours[name].numpy())
