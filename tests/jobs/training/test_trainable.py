"""The trainable copy computes what the network does, also where values are rounded as in the integer program."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.core.encoding import Codebook, Grid
from studio.jobs._forms import BookForm, GridForm
from studio.jobs._rounding import Levels, grid_levels, rounded
from studio.jobs._trainable import Trainable
from studio.network.network import Network
from tests.jobs.training.conftest import samples


def test_a_copy_computes_the_same_and_leaves_the_network_alone(network: Network) -> None:
    x = torch.from_numpy(samples(20, 9)[0])
    model = Trainable(network)
    (expected,) = network(x)
    assert torch.equal(model(x)["softmax"], expected)
    model(x)["softmax"].square().sum().backward()
    for tensor in model.tensors.values():
        assert tensor.grad is not None
        with torch.no_grad():
            tensor.add_(1)
    assert torch.equal(network(x)[0], expected)
    assert all(not p.requires_grad for p in network.parameters())


def test_hooks_change_weights_tensors_and_what_one_node_reads(network: Network) -> None:
    x = torch.from_numpy(samples(5, 9)[0])
    model = Trainable(network)
    plain = model(x, ["relu1", "conv2", "add"])
    model.weights["conv2"] = lambda w: 2 * w
    bias = model.tensors["conv2.bias"].reshape(1, -1, 1, 1)
    assert torch.allclose(model(x, ["conv2"])["conv2"], 2 * plain["conv2"] - bias, atol=1e-4)
    model.weights.clear()
    model.outputs["relu1"] = lambda y: y + 1
    assert torch.equal(model(x, ["relu1"])["relu1"], plain["relu1"] + 1)
    model.outputs.clear()
    model.inputs["add", "relu1"] = lambda y: y + 3
    found = model(x, ["conv2", "add"])
    assert torch.equal(found["conv2"], plain["conv2"])
    assert torch.allclose(found["add"], plain["add"] + 3, atol=1e-5)


def test_16_bit_products_are_taken_for_gradients_alone(network: Network) -> None:
    x = torch.from_numpy(samples(5, 9)[0])
    model, half = Trainable(network), Trainable(network, half=True)
    seen: list[torch.dtype] = []
    half.outputs["conv2"] = lambda y: (seen.append(y.dtype), y)[1]
    expected, found = model(x, ["conv2"]), half(x, ["conv2"])
    gradients = []
    for one, values in ((model, expected), (half, found)):
        values["softmax"].square().sum().backward()
        gradients.append(one.tensors["conv1.weight"].grad)
    assert seen == [torch.float32]
    assert {v.dtype for v in found.values()} == {torch.float32}
    for one, other in ((expected["conv2"], found["conv2"]), gradients):
        assert 0 < (one - other).norm() < 0.03 * one.norm()  # 8 bits: 1/256 in a product, and some layers of them
    with torch.no_grad():
        assert torch.equal(half(x)["softmax"], model(x)["softmax"])


def test_a_batch_that_is_not_free_runs_singly(network: Network) -> None:
    x = torch.from_numpy(samples(4, 9)[0])
    single = Network(network.name, network.nodes, network.outputs, free_batch=False)
    assert torch.allclose(Trainable(single)(x)["softmax"], network(x)[0], atol=1e-6)


def test_rounding_has_the_gradients_of_lsq() -> None:
    """By hand: s = 0.5, levels -1..1; w / s = 0.6, -0.2, 3, -4 -> 1, 0, 1, -1."""
    w = torch.tensor([0.3, -0.1, 1.5, -2.0], requires_grad=True)
    s = torch.tensor(0.5, requires_grad=True)
    y = rounded(w, s, grid_levels(2))
    assert y.tolist() == [0.5, 0.0, 0.5, -0.5]
    y.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert w.grad is not None
    assert s.grad is not None
    assert w.grad.tolist() == [1, 10, 0, 0]
    # 1 * (1 - 0.6) + 10 * (0 + 0.2) + 100 * 1 + 1000 * -1
    assert float(s.grad) == pytest.approx(0.4 + 2 + 100 - 1000, rel=1e-5)


def test_levels_of_every_grid() -> None:
    ratio = torch.tensor([-9.0, -2.5, -1.4, -0.5, -0.1, 0.2, 0.5, 1.5, 2.9, 7.0])
    assert grid_levels(4).nearest(ratio).tolist() == [-7, -2, -1, 0, 0, 0, 0, 2, 3, 7]
    assert grid_levels(1).nearest(ratio).tolist() == [-1, -1, -1, -1, -1, 1, 1, 1, 1, 1]
    assert grid_levels(3, True).nearest(ratio).tolist() == [-4, -2, -1, 0, 0, 0, 1, 2, 2, 4]
    assert Levels(-2, 5).nearest(ratio).tolist() == [-2, -2, -1, 0, 0, 0, 0, 2, 3, 5]


GRIDS = [
    Grid(np.zeros((6, 4, 3, 3), np.int8), np.linspace(0.1, 0.6, 6, dtype=np.float32), 0, 4),
    Grid(np.zeros((4, 6, 2, 2), np.int8), np.linspace(0.1, 0.6, 6, dtype=np.float32), 1, 2),
    Grid(np.zeros((6, 10), np.int8), np.array([0.3], np.float32), None, 8),
    Grid(np.ones((6, 10), np.int8), np.linspace(0.1, 0.6, 6, dtype=np.float32), 0, 1),
    Grid(np.zeros((6, 10), np.int8), np.linspace(0.1, 0.6, 6, dtype=np.float32), 0, 3, power_of_two=True),
    Grid(np.zeros((3, 10), np.int8), np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(3, 3), 0, 4, group=4),
    Grid(np.zeros((10, 3), np.int8), np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(3, 3), 1, 4, group=4),
]


@pytest.mark.parametrize("grid", GRIDS)
def test_what_a_grid_trains_is_what_it_stores(grid: Grid) -> None:
    latent = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    form = GridForm(grid)
    with torch.no_grad():
        form.scales[0].mul_(1.37)
    used = form.weight(latent)
    encoding = form.encode(latent.detach())
    assert np.array_equal(encoding.decode(), used.detach().numpy())
    assert isinstance(encoding, Grid)
    assert np.allclose(encoding.scale, grid.scale * 1.37, rtol=1e-6)
    used.square().sum().backward()
    assert form.scales[0].grad is not None
    assert form.scales[0].grad.shape == grid.scale.shape


@pytest.mark.parametrize("grid", GRIDS)
def test_settling_brings_weights_nearer_to_the_levels_that_they_have(grid: Grid) -> None:
    latent = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    form = GridForm(grid)
    levels, before = form.weight(latent).detach(), latent.clone()
    form.settle(latent, 0.25)
    assert torch.allclose(latent - levels, 0.75 * (before - levels), atol=1e-6)
    assert torch.equal(form.weight(latent), levels)


def book(kind: type, zero: bool) -> Codebook:
    indices = np.random.default_rng(1).integers(0, 4, (6, 5)).astype(np.uint8)
    table = np.array([[0 if zero else -9, -3, 4, 8], [0 if zero else -7, 2, 5, 11]]).astype(kind)
    scale = None if kind is np.float32 else np.array([0.1, 0.2], np.float32)
    return Codebook(indices, table, scale, 2, 0, 3)


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.int16])
@pytest.mark.parametrize("zero", [True, False])
def test_shared_values_get_the_summed_gradient_of_their_members(kind: type, zero: bool) -> None:
    start = book(kind, zero)
    form = BookForm(start)
    latent = torch.zeros(6, 5)
    assert form.weight(latent).detach().numpy().tobytes() == start.decode().tobytes()
    upstream = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    form.weight(latent).backward(upstream)
    (table,) = form.values
    assert table.grad is not None
    for block in range(2):
        for index in range(4):
            mine = (start.indices == index) & (start.block_of_channel == block)[:, None]
            expected = 0.0 if zero and index == 0 else float(upstream[torch.from_numpy(mine)].sum())
            assert float(table.grad[block, index]) == pytest.approx(expected, abs=1e-5)
    with torch.no_grad():
        table.add_(0.033)
        form.limit()
    assert form.encode(latent).decode().tobytes() == form.weight(latent).detach().numpy().tobytes()
    if zero:
        assert not form.encode(latent).decode()[start.indices == 0].any()


def test_reassignment_takes_the_nearest_value_and_keeps_zeros() -> None:
    start = book(np.float32, True)
    form = BookForm(start, reassign=True)
    latent = torch.randn(6, 5, generator=torch.Generator().manual_seed(3)) * 5
    form.assign(latent)
    found = form.encode(latent)
    assert isinstance(found, Codebook)
    for place in np.ndindex(6, 5):
        own = start.centroids[start.block_of_channel[place[0]]]
        nearest = 1 + int(np.abs(own[1:] - float(latent[place])).argmin())
        assert found.indices[place] == (0 if start.indices[place] == 0 else nearest)
