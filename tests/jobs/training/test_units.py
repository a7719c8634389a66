"""Steps of training do not depend on how a network is scaled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core.plan import Plan
from studio.jobs._trainable import Trainable
from studio.jobs._units import units_of
from studio.network.network import Network
from studio.network.operators import Conv, Linear
from tests.jobs.training.conftest import Runner, engine_of, samples


def scaled(network: Network, by: float) -> Network:
    """The same function: conv3 gives `by` times as much, fc takes it back."""
    nodes = []
    for node in network.nodes:
        operator = node.operator
        if node.name == "conv3":
            assert isinstance(operator, Conv)
            assert operator.bias is not None
            weight, bias = operator.weight * by, operator.bias * by
            operator = Conv(weight, bias, operator.stride, operator.pads, operator.dilation, operator.groups)
        if node.name == "fc":
            assert isinstance(operator, Linear)
            operator = Linear(operator.weight / by, operator.bias)
        nodes.append(replace(node, operator=operator))
    return network.with_nodes(nodes)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_scaled_network_trains_to_the_same_function(network: Network, files: dict[str, Path], optimizer: str) -> None:
    by = 64.0  # a power of two, so that all roundings are the same
    settings = {"epochs": 1, "batch_size": 90, "optimizer": optimizer, "learning_rate": 0.003}
    engines = [engine_of(network, files), engine_of(scaled(network, by), files)]
    plain, other = (Runner().run("retrain", engine, Plan(), **settings) for engine in engines)
    start = network.by_name["conv3"].operator.weight.detach().numpy()  # type: ignore[operator]
    change = np.abs(plain.tensors["conv3.weight"] - start).max()
    assert change > 1e-3
    difference = np.abs(other.tensors["conv3.weight"] / by - plain.tensors["conv3.weight"]).max()
    assert difference < 0.01 * change
    assert np.abs(other.tensors["fc.weight"] * by - plain.tensors["fc.weight"]).max() < 1e-4
    assert np.abs(other.tensors["conv1.weight"] - plain.tensors["conv1.weight"]).max() < 1e-4


def test_units_by_hand(network: Network) -> None:
    x = torch.from_numpy(samples(50, 1)[0])
    units = units_of(Trainable(network), x)
    weight = network.by_name["conv2"].operator.weight.detach().numpy()  # type: ignore[operator]
    expected = np.sqrt((weight**2).reshape(8, -1).mean(1)) * np.sqrt(8 * 9 / 2)
    assert units["conv2.weight"].shape == (8, 1, 1, 1)
    assert np.allclose(units["conv2.weight"].reshape(-1), expected, rtol=1e-5)
    outputs = network.run((x,), keep=["conv2", "fc"])
    assert np.allclose(units["conv2.bias"], outputs["conv2"].square().mean((0, 2, 3)).sqrt(), rtol=1e-4)
    assert np.allclose(units["fc.bias"], outputs["fc"].square().mean(0).sqrt(), rtol=1e-4)


def test_a_dead_channel_gets_a_small_unit(network: Network) -> None:
    model = Trainable(network)
    with torch.no_grad():
        model.tensors["conv2.weight"][3] = 0
    units = units_of(model, torch.from_numpy(samples(50, 1)[0]))["conv2.weight"].reshape(-1)
    others = torch.cat([units[:3], units[4:]])
    assert 0 < float(units[3]) < float(others.min())
    assert float(units[3]) == pytest.approx(0.1 * float(units.square().mean().sqrt()), rel=0.02)
