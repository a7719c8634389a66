"""Small networks for tests of the .tflite writer, and its files run in LiteRT beside the program in torch."""

import math

import numpy as np
import torch

from studio.core.encoding import Grid
from studio.export._tflite.write import write
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network.network import Network, Node
from studio.runtimes.litert import LiteRtRunner

SAMPLES = 3


class Built:
    """Network under construction; every method returns the new node's name."""

    def __init__(self, *shape, seed=0):
        self.nodes = [Node("x", "x", (), op.Input((1, *shape)))]
        self.made = torch.Generator().manual_seed(seed)
        self.channels = {"x": shape[0]}

    def add(self, operator, *inputs):
        name = f"{operator.kind}{len(self.nodes)}"
        self.nodes.append(Node(name, name, inputs or (self.nodes[-1].name,), operator))
        return name

    def random(self, *shape):
        return torch.randn(shape, generator=self.made)

    def conv(self, out, source="", kernel=(1, 1), groups=1, into=None, bias=True, **settings):
        rank, into = len(kernel), into or self.nodes[0].operator.shape[1]
        weight = self.random(out, into // groups, *kernel) / math.sqrt(into // groups * math.prod(kernel))
        ready = {"stride": (1,) * rank, "pads": (0,) * 2 * rank, "dilation": (1,) * rank, "groups": groups, **settings}
        return self.add(op.Conv(weight, self.random(out) if bias else None, **ready), *([source] if source else []))

    def linear(self, into, out, source=""):
        weight = self.random(out, into) / math.sqrt(into)
        return self.add(op.Linear(weight, self.random(out)), *([source] if source else []))

    def network(self, *outputs):
        return Network("built", self.nodes, outputs or (self.nodes[-1].name,))


def encode(operator, bits=8):
    weight, most = operator.weight.numpy(), 2 ** (bits - 1) - 1
    scale = (np.abs(weight).reshape(len(weight), -1).max(1) / most).astype(np.float32)
    q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).clip(-most, most).astype(np.int8)
    return Grid(q, scale, 0, bits)


def lowered(network, left_float=(), samples=SAMPLES, bits=8):
    """Program with int8 weights and ranges of the samples, and the samples."""
    made = torch.Generator().manual_seed(7)
    x = torch.randn((samples, *network.input_shape[1:]), generator=made)
    ranges = {}
    network.run(
        (x,), visit=lambda n, v: ranges.__setitem__(n.name, (min(0.0, float(v.min())), max(0.0, float(v.max()))))
    )
    weighted = [n for n in network.nodes if n.kind in ("conv", "linear") and n.name not in left_float]
    return lower(network, {n.name: encode(n.operator, bits) for n in weighted}, ranges), x


def run(program, x, folder):
    """Outputs and integer tensors of the written file and of the program."""
    path = folder / "model.tflite"
    path.write_bytes(write(program))
    names = [o.output for o in program.operations if program.tensors[o.output].format is not None]
    ours = execute.run_program(program, x, "tflite", keep=names)
    with LiteRtRunner(path) as runner:
        return runner.run(x.numpy()), runner.tensors(x.numpy(), names), ours


def assert_equal(network, folder, views=0, bits=8):
    """All integer tensors that the file has are bit-equal; `views`: how many reshapes need none of their own."""
    program, x = lowered(network, bits=bits)
    outputs, theirs, ours = run(program, x, folder)
    integers = [name for name, value in ours.items() if value.dtype == torch.int8]
    assert len(theirs) >= len(integers) - views
    assert all(o.integer for o in program.operations if o.kind != "dequantize")
    # Listed operators are equal here; another processor's kernels may differ by a step.
    step = int(any(o.listed for o in program.operations))
    for name, found in theirs.items():
        assert found.dtype == np.int8
        assert found.shape == tuple(ours[name].shape)
        assert np.abs(found.astype(int) - ours[name].numpy()).max() <= step
    for found, name in zip(outputs, program.outputs, strict=True):
        assert found.shape == tuple(ours[name].shape)
        assert step or np.array_equal(found, ours[name].numpy())
