"""A small network with data it can learn, and a place in memory for checkpoints."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from studio import data
from studio.core import registry
from studio.core.errors import Cancelled
from studio.core.plan import Plan
from studio.core.settings import validate
from studio.core.state import State
from studio.engine.engine import Engine
from studio.jobs._base import Report, Task
from studio.network.cost import describe
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input, Linear, Operator
from studio.network.operators_plain import Add, GlobalAveragePool, Relu, Reshape, Softmax

CLASSES, CHANNELS, SIZE = 4, 8, 8


@dataclass
class Memory:
    """Checkpoints in memory; `due` as `when` says."""

    when: Callable[[], bool] = lambda: False
    content: Mapping[str, Any] | None = None
    saved: int = 0

    def load(self) -> Mapping[str, Any] | None:
        return self.content

    def due(self) -> bool:
        return self.when()

    def save(self, content: Mapping[str, Any]) -> None:
        self.content = {k: v.clone() if isinstance(v, Tensor) else v for k, v in content.items()}
        self.saved += 1


@dataclass
class Runner:
    """Runs jobs in this process."""

    reports: list[Report] = field(default_factory=list)

    def run(
        self, job: str, engine: Engine, plan: Plan, memory: Memory | None = None,
        stop: Callable[[], None] | None = None, **settings: Any,
    ) -> State:  # fmt: skip
        found = registry.find("jobs", job)
        values = validate(found.settings, settings, job)
        task = Task(engine, plan, values, self.reports.append, memory or Memory(), stop or (lambda: None))
        state: State = found.run(task)
        return state


class Killed(Exception):
    """The process is gone."""


def killer(at: int) -> Callable[[], None]:
    """`stop` that ends the run at the call after so many."""
    return _raising(at, Killed)


def canceller(at: int) -> Callable[[], None]:
    return _raising(at, Cancelled)


def _raising(at: int, error: type[Exception]) -> Callable[[], None]:
    calls = iter(range(at))

    def stop() -> None:
        if next(calls, None) is None:
            raise error

    return stop


def often(seed: int) -> Callable[[], bool]:
    draws = random.Random(seed)
    return lambda: draws.random() < 0.3


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 1, 8, 8) of four kinds of noisy stripes."""
    draws = np.random.default_rng(seed)
    y = draws.integers(0, CLASSES, count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    waves = np.stack([np.sin(v) for v in (rows, columns, rows + columns, rows - columns)])
    x = waves[y][:, None] + draws.normal(0, 1.2, (count, 1, SIZE, SIZE))
    return x.astype(np.float32), y.astype(np.int64)


def small_network(seed: int = 0, channels: int = CHANNELS) -> Network:
    """input -> conv -> ReLU -> conv -> add -> ReLU -> conv -> ReLU -> mean -> linear -> softmax."""
    draws = torch.Generator().manual_seed(seed)

    def conv(out: int, inside: int) -> Conv:
        weight = torch.randn(out, inside, 3, 3, generator=draws) * (2 / (9 * inside)) ** 0.5
        return Conv(weight, torch.zeros(out), (1, 1), (1, 1, 1, 1), (1, 1), 1)

    fc = Linear(torch.randn(CLASSES, channels, generator=draws) * 0.3, torch.zeros(CLASSES))
    nodes: list[tuple[str, tuple[str, ...], Operator]] = [
        ("input", (), Input((1, 1, SIZE, SIZE))),
        ("conv1", ("input",), conv(channels, 1)),
        ("relu1", ("conv1",), Relu()),
        ("conv2", ("relu1",), conv(channels, channels)),
        ("add", ("relu1", "conv2"), Add()),
        ("relu2", ("add",), Relu()),
        ("conv3", ("relu2",), conv(channels, channels)),
        ("relu3", ("conv3",), Relu()),
        ("mean", ("relu3",), GlobalAveragePool()),
        ("flat", ("mean",), Reshape((channels,))),
        ("fc", ("flat",), fc),
        ("softmax", ("fc",), Softmax(1)),
    ]
    made = [Node(name, name, inputs, operator) for name, inputs, operator in nodes]
    return Network("small", made, ["softmax"])


def trained_network(channels: int = CHANNELS) -> Network:
    """The small network after 200 plain steps of torch's own SGD."""
    network = small_network(channels=channels)
    x, y = (torch.from_numpy(part) for part in samples(1000, 5))
    tensors = list(network.parameters())
    network.requires_grad_(True)
    optimizer = torch.optim.SGD(tensors, 0.05, momentum=0.9)
    for step in range(200):
        part = slice(step * 40 % 1000, step * 40 % 1000 + 40)
        values = {"input": x[part]}
        for node in network.nodes[1:-1]:
            values[node.name] = node.operator(*[values[name] for name in node.inputs])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(values["fc"], y[part]).backward()
        optimizer.step()
    network.requires_grad_(False)
    return network


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data of the small network: training, evaluation, and both without labels."""
    folder = tmp_path_factory.mktemp("data")
    found = {}
    for role, count, seed in (("train", 600, 1), ("evaluation", 400, 2)):
        x, y = samples(count, seed)
        found[role] = folder / f"{role}.npz"
        np.savez(found[role], x=x, y=y)
        found[f"{role} unlabelled"] = folder / f"{role}_unlabelled.npz"
        np.savez(found[f"{role} unlabelled"], x=x)
    return found


@pytest.fixture(scope="session")
def network() -> Network:
    return trained_network()


def engine_of(network: Network, files: Mapping[str, Path], suffix: str = "") -> Engine:
    """Engine with training and evaluation data."""
    roles = ("train", "evaluation")
    sources = {role: data.open(files[role + suffix], input_shape=network.input_shape) for role in roles}
    return Engine(network, describe(network), sources)


@pytest.fixture(scope="session")
def engine(network: Network, files: dict[str, Path]) -> Engine:
    return engine_of(network, files)


@pytest.fixture
def runner() -> Runner:
    return Runner()
