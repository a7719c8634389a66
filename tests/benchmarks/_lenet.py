"""The two LeNets of the Deep Compression benchmark: their shapes, their MNIST, and how they are trained in float.

Networks are plain lists of tensors here, so that units and pixels can leave them in the middle of training;
`module` makes the torch module that the studio opens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import SHARED
from torch import Tensor, nn
from torch.nn import functional

TRAIN, TEST = SHARED / "data" / "mnist_train60k.npz", SHARED / "data" / "mnist_test_even5k.npz"
HELD = 5000
"""Samples of the shuffled training set on which settings were chosen; never trained on."""
BATCH = 256
SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
STILL = SHIFTS.index((0, 0))
EDGE = 2


@dataclass(frozen=True)
class Kind:
    """A network: layers from input to output, how many inputs of the next layer a unit makes, and its shapes."""

    name: str
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    spread: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Float32 bytes of all weights and biases."""
        return 4 * sum(math.prod(shape) + shape[0] for shape in self.shapes)


FC = Kind("lenet-300-100", ("fc1", "fc2", "fc3"), ((300, 784), (100, 300), (10, 100)), (1, 1))
CONV = Kind(
    "lenet-5", ("conv1", "conv2", "fc1", "fc2"), ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)), (1, 16, 1)
)
KINDS = {kind.name: kind for kind in (FC, CONV)}


@dataclass(frozen=True, eq=False)
class Mnist:
    """Pictures (60000, 32, 32) uint8 with two pixels of margin, shuffled; labels int64."""

    pictures: Tensor
    labels: Tensor

    @property
    def trained(self) -> Tensor:
        """Positions that are trained on."""
        return torch.arange(len(self.labels) - HELD)

    @property
    def held(self) -> Tensor:
        """Positions that settings are chosen on."""
        return torch.arange(len(self.labels) - HELD, len(self.labels))

    def batch(self, places: Tensor, shift: int = STILL) -> Tensor:
        """Pictures (n, 28, 28) float32 from 0 to 1, moved by one of `SHIFTS`."""
        down, right = SHIFTS[shift]
        rows, columns = (slice(EDGE + move, EDGE + move + 28) for move in (down, right))
        return self.pictures[places, rows, columns].float().div_(255)

    def shifted(self, places: Tensor, generator: torch.Generator) -> tuple[Tensor, list[tuple[int, Tensor]]]:
        """Pictures of a batch, each quarter moved another way, and (shift, places) of the quarters."""
        drawn = torch.randint(len(SHIFTS), (4,), generator=generator).tolist()
        parts = list(zip(drawn, places.chunk(4), strict=True))
        return torch.cat([self.batch(part, shift) for shift, part in parts]), parts


def mnist() -> Mnist:
    """Return the training set, shuffled once and for all: the file is sorted by class."""
    data = np.load(TRAIN)
    order = np.random.default_rng(0).permutation(len(data["y"]))
    pictures = torch.zeros(len(order), 28 + 2 * EDGE, 28 + 2 * EDGE, dtype=torch.uint8)
    pictures[:, EDGE:-EDGE, EDGE:-EDGE] = torch.from_numpy(data["x"][order])
    return Mnist(pictures, torch.from_numpy(data["y"][order]).long())


class _Pool(torch.autograd.Function):
    """Maximum over the four places of each window, which stand in four blocks of channels: (n, 4c, h, w)."""

    @staticmethod
    def forward(context: Any, places: Tensor) -> Tensor:
        a, b, c, d = places.chunk(4, 1)
        largest = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
        context.save_for_backward(places, largest)
        return largest

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        places, largest = context.saved_tensors
        return (places == largest.repeat(1, 4, 1, 1)) * gradient.repeat(1, 4, 1, 1)


def _four(kernel: Tensor) -> Tensor:
    """A 5x5 kernel at the four places of a 2x2 window: (4c, 1, 6, 6); faster with stride 2 than pooling."""
    moves = [(right, 1 - right, down, 1 - down) for down in (0, 1) for right in (0, 1)]
    return torch.cat([functional.pad(kernel, move) for move in moves])


def forward(kind: Kind, weights: list[Tensor], biases: list[Tensor], x: Tensor) -> Tensor:
    """Logits of (n, 28, 28) pictures, for lenet-300-100 of (n, pixels that are left)."""
    if kind is CONV:
        places = functional.conv2d(x[:, None], _four(weights[0]), biases[0].repeat(4), stride=2)
        y = functional.relu(_Pool.apply(places))
        y = functional.relu(functional.max_pool2d(functional.conv2d(y, weights[1], biases[1]), 2))
    else:
        y = functional.relu(functional.linear(x.flatten(1), weights[0], biases[0]))
    for weight, bias in zip(weights[-2:-1], biases[-2:-1], strict=True):
        y = functional.relu(functional.linear(y.flatten(1), weight, bias))
    return functional.linear(y, weights[-1], biases[-1])


def rate(share: float, warm: float = 0.1) -> float:
    """Part of the largest rate at a share of the way: up for `warm` of it, then down as a cosine."""
    if share < warm:
        return 0.04 + 0.96 * share / warm
    return 0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm)))


def batches(places: Tensor, epochs: int, generator: torch.Generator) -> Iterator[tuple[float, Tensor]]:
    """Share of the way and positions of each batch; what is left over of an epoch is left out."""
    each = len(places) // BATCH
    for epoch in range(epochs):
        order = places[torch.randperm(len(places), generator=generator)]
        for i in range(each):
            yield (epoch * each + i) / (epochs * each), order[i * BATCH : (i + 1) * BATCH]


def train_float(kind: Kind, data: Mnist, seed: int, epochs: int, shift: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases after AdamW; matrix products of the training in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    weights, biases = [], []
    for shape in kind.shapes:
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        weights.append(((torch.rand(shape, generator=generator) * 2 - 1) * bound).requires_grad_())
        biases.append(((torch.rand(shape[0], generator=generator) * 2 - 1) * bound).requires_grad_())
    optimizer = torch.optim.AdamW([*weights, *biases], lr=1e-3, weight_decay=0.01)
    for share, places in batches(data.trained, epochs, generator):
        optimizer.param_groups[0]["lr"] = 1e-3 * rate(share)
        x, parts = data.shifted(places, generator) if shift else (data.batch(places), [(STILL, places)])
        labels = torch.cat([data.labels[part] for _, part in parts])
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward(kind, weights, biases, x)
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
    return [w.detach() for w in weights], [b.detach() for b in biases]


class _Fc(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


class _Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(functional.max_pool2d(self.conv1(x), 2))
        y = torch.relu(functional.max_pool2d(self.conv2(y), 2))
        return self.fc2(torch.relu(self.fc1(y.flatten(1))))


def module(kind: Kind, weights: list[Tensor], biases: list[Tensor]) -> nn.Module:
    """Torch module of a whole network."""
    made: nn.Module = _Conv() if kind is CONV else _Fc()
    tensors = {f"{name}.weight": weight for name, weight in zip(kind.layers, weights, strict=True)}
    made.load_state_dict(tensors | {f"{name}.bias": bias for name, bias in zip(kind.layers, biases, strict=True)})
    return made
