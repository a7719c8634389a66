"""Which encodings compute in integers, and with which."""

import numpy as np
import pytest
import torch

from studio.core.encoding import Codebook, Coded, Dense, Encoding, Grid, Sparse
from studio.lowering import execute, lower
from studio.lowering.integers import grid, on_grid
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input

SHAPE = (6, 4, 3, 3)
ONE = np.ones(1, np.float32)
GENERATOR = np.random.default_rng(3)
INDICES = GENERATOR.integers(0, 4, SHAPE).astype(np.uint8)
CENTROIDS = np.array([[0, 90, -40, 7], [0, -100, 3, 60]], np.int8)
BLOCKS = Codebook(INDICES, CENTROIDS, np.array([0.01, 0.02], np.float32), 2, 0, 4)
MASK = GENERATOR.random(SHAPE) < 0.4

INTEGER: list[Encoding] = [
    BLOCKS, Sparse(MASK, BLOCKS), Coded(Sparse(MASK, BLOCKS)), Coded(BLOCKS),
    Grid(np.where(MASK, 1, -1).astype(np.int8), ONE / 8, None, 1),
    Grid(np.where(MASK, 32, -2).astype(np.int8), np.linspace(0.01, 0.1, 6, dtype=np.float32), 0, 4, True),
]  # fmt: skip
FLOAT: list[Encoding] = [
    Codebook(INDICES, CENTROIDS[:1].astype(np.float32), None, 2),
    Codebook(INDICES, CENTROIDS[:1].astype(np.int16), ONE, 2),
    Grid(INDICES.astype(np.int8), np.ones((6, 2), np.float32), 0, 8, group=2),
    Coded(Dense(np.ones(SHAPE, np.float32))),
]


def program(encoding):
    torch.manual_seed(0)
    operator = Conv(torch.zeros(SHAPE), torch.randn(6), (1, 1), (1,) * 4, (1, 1), 1)
    net = Network("net", [Node("x", "x", (), Input((1, 4, 8, 8))), Node("c", "c", ("x",), operator)], ["c"])
    return lower(net, {"c": encoding}, {"x": (-3.0, 3.0), "c": (-8.0, 8.0)})


@pytest.mark.parametrize("encoding", INTEGER)
def test_integers_times_scales_are_the_decoded_weights(encoding):
    q, scale, _ = grid(encoding)
    assert q.dtype == np.int8
    assert ((q.astype(np.float32) * scale.reshape(-1, 1, 1, 1)) == encoding.decode()).all()


@pytest.mark.parametrize("encoding", INTEGER)
def test_they_compute_exactly_like_a_grid_of_eight_bits(encoding):
    assert on_grid(encoding)
    q, scale, _ = grid(encoding)
    x = torch.randn(5, 4, 8, 8)
    ours, theirs = program(encoding), program(Grid(q, np.ascontiguousarray(scale), 0, 8))
    assert [op.kind for op in ours.operations] == ["quantize", "conv", "dequantize"]
    assert torch.equal(execute.run_program(ours, x)["c:float"], execute.run_program(theirs, x)["c:float"])


@pytest.mark.parametrize("encoding", FLOAT)
def test_others_compute_in_float_on_decoded_weights(encoding):
    assert not on_grid(encoding)
    found = program(encoding)
    assert found.float_layers == ("c",)
    assert (found.operations[-1].weight == encoding.decode()).all()


def test_planned_bits_are_those_of_an_index():
    (conv,) = [op for op in program(INTEGER[2]).operations if op.kind == "conv"]
    assert conv.weights.width == 2
    assert conv.encoding is INTEGER[2]
