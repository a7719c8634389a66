"""Effects of channels on the loss, against finite differences: scaling a channel by 1 + h."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from studio.core import registry
from studio.core.errors import DataError
from studio.criteria import ChannelStatistics
from studio.engine.gradients import channel_effects
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input, Linear
from studio.network.operators_plain import GlobalAveragePool, Relu, Reshape, Softmax

H = 1e-3


def network(softmax: bool = False, free_batch: bool = True) -> Network:
    made = torch.Generator().manual_seed(0)
    conv = Conv(torch.randn(5, 2, 3, 3, generator=made), torch.randn(5, generator=made), (1, 1), (1,) * 4, (1, 1), 1)
    fc = Linear(torch.randn(3, 5, generator=made), None)
    nodes = [
        Node("x", "x", (), Input((1, 2, 6, 6))), Node("a", "a", ("x",), conv), Node("r", "r", ("a",), Relu()),
        Node("p", "p", ("r",), GlobalAveragePool()), Node("f", "f", ("p",), Reshape((5,))),
        Node("fc", "fc", ("f",), fc),
    ]  # fmt: skip
    if softmax:
        nodes.append(Node("s", "s", ("fc",), Softmax(1)))
    return Network("small", nodes, [nodes[-1].name], free_batch)


def data(labels: Any, samples: int = 7) -> Any:
    x = np.random.default_rng(1).normal(size=(samples, 2, 6, 6)).astype(np.float32)
    return SimpleNamespace(labels=labels, batch=lambda i: x[i], source="here")


LABELS = np.array([0, 1, 2, 0, 1, 2, 0])


def losses(net: Network, x: torch.Tensor, channel: int, factor: float) -> torch.Tensor:
    """Loss of each sample with one channel behind the ReLU scaled, in float64."""
    values = {"x": x.double()}
    for node in net.nodes[1:]:
        y = node.operator.double()(*(values[name] for name in node.inputs))
        if node.name == "r":
            y = y.clone()
            y[:, channel] *= factor
        values[node.name] = y
    return functional.cross_entropy(values["fc"], torch.from_numpy(LABELS), reduction="none")


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("free_batch", [False, True])
def test_effects_are_the_loss_s_change_when_a_channel_is_scaled(softmax: bool, free_batch: bool) -> None:
    found = channel_effects(network(softmax, free_batch), data(LABELS), np.arange(7))
    x = torch.from_numpy(data(LABELS).batch(np.arange(7)))
    for channel in range(5):
        change = (losses(network(), x, channel, 1 + H) - losses(network(), x, channel, 1 - H)) / (2 * H)
        assert found["a"][channel] == pytest.approx(float(change.abs().mean()), rel=1e-3)
    assert found["fc"].shape == (3,)


def test_the_criterion_takes_them_as_they_are() -> None:
    taylor = registry.find("criteria", "taylor")
    effect = np.array([0.5, 0.0, 2.0])
    assert taylor.channels(np.zeros((3, 2)), ChannelStatistics(effect=effect)).tolist() == effect.tolist()
    with pytest.raises(ValueError, match="gradients"):
        taylor.channels(np.zeros((3, 2)))


def test_without_labels_or_classes_the_reason_is_given() -> None:
    with pytest.raises(DataError, match="needs labels"):
        channel_effects(network(), data(None), np.arange(3))
    with pytest.raises(DataError, match="no row of scores"):
        channel_effects(network(), data(np.array([0, 1, 5])), np.arange(3))
