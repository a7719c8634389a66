"""What filters look at, beside torch's own unfolding, whatever lies innermost in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from studio.network import operators as op
from studio.network.network import Node
from studio.techniques._input_moments import by_channel, innermost, output_sizes, patches

RNG = np.random.default_rng(3)


def values(*shape: int) -> Tensor:
    return torch.from_numpy(RNG.normal(0, 1, shape).astype(np.float32))


def node(operator: op.Operator) -> Node:
    return Node("a", "a", ("x",), operator)


@pytest.mark.parametrize("innermost_first", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "dilation"),
    [
        ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((3, 2), (2, 1), (0, 1, 2, 0), (1, 2)),
        ((5, 1), (3, 2), (2, 0, 2, 0), (1, 1)),
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_patches_are_those_of_unfold(
    kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, ...], dilation: tuple[int, int],
    innermost_first: bool,
) -> None:  # fmt: skip
    x, conv = values(3, 4, 9, 8), op.Conv(values(2, 4, *kernel), None, stride, pads, dilation, 1)
    padded = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    wanted = functional.unfold(padded, kernel, dilation, 0, stride)  # (3, 4 * places, positions)
    wanted = wanted.transpose(1, 2).reshape(-1, 4, kernel[0] * kernel[1]).transpose(1, 2)
    found = patches(innermost(x) if innermost_first else x, node(conv), 10_000, np.random.default_rng(0))
    assert torch.equal(found, wanted)
    assert len(found) == 3 * np.prod(output_sizes(conv, (9, 8)))
    rows = found.flatten(1)[:, by_channel(*found.shape[1:])]
    assert torch.allclose(rows @ conv.weight.reshape(2, -1).T, conv(x).movedim(1, -1).reshape(-1, 2), atol=1e-4)


def test_a_convolution_along_one_axis() -> None:
    x, conv = values(2, 3, 7), op.Conv(values(5, 3, 3), None, (2,), (1, 0), (1,), 1)
    found = patches(x, node(conv), 10_000, np.random.default_rng(0))
    rows = found.flatten(1)[:, by_channel(*found.shape[1:])]
    assert torch.allclose(rows @ conv.weight.reshape(5, -1).T, conv(x).movedim(1, -1).reshape(-1, 5), atol=1e-5)


def test_fewer_places_are_a_part_of_all_in_order() -> None:
    x, conv = values(2, 3, 6, 6), op.Conv(values(4, 3, 3, 3), None, (1, 1), (1,) * 4, (1, 1), 1)
    whole = [tuple(row.flatten().tolist()) for row in patches(x, node(conv), 72, np.random.default_rng(0))]
    some = [tuple(row.flatten().tolist()) for row in patches(x, node(conv), 20, np.random.default_rng(0))]
    at = [whole.index(row) for row in some]
    assert at == sorted(set(at))
    assert len(at) == 20
