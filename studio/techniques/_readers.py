"""Order in which channels go when each time the one goes that the layers reading it miss least.

A layer that loses an input can make up for much of it with its other inputs. For least squares the
error that remains is known in closed form from the second moments of its inputs: removing columns c
of W costs `tr(W_c inv(inv(H)_cc) W_c')`, and what is left after it follows by elimination (Hassibi and
Stork 1993, Optimal Brain Surgeon, on blocks; Luo et al. 2017, ThiNet, for the idea of asking the next
layer). Costs are in shares of the variance of what the layer gives, behind an add that of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from studio.network.channels import channels_of
from studio.network.network import Network, Node
from studio.techniques._features import weights_of
from studio.techniques._input_moments import PATCHES, input_moments
from studio.techniques._rewrite import Tick, quiet

WIDEST = 4096
"""Inputs of a layer up to which its second moments are taken; beyond, the size of its weights counts alone."""
SAMPLES = 50
"""Samples from which the variance of outputs is taken."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Channel classes in the order in which they go, with the summed cost when so many are gone."""

    order: np.ndarray  # (n - 1,) or (n,)
    cost: np.ndarray  # of the same length


@dataclass(frozen=True, eq=False)
class Reader:
    """One group of a layer that reads channels: weight (out, d) and inverse moments (d, d) about `mean`, float64."""

    weight: np.ndarray
    inverse: np.ndarray | None
    columns: Mapping[int, np.ndarray]  # class -> inputs that belong to it
    scale: float
    mean: np.ndarray | None = None  # (d,) where a bias can take it up

    def copy(self) -> Reader:
        """Return one that can be eliminated in."""
        inverse = None if self.inverse is None else self.inverse.copy()
        return replace(self, weight=self.weight.copy(), inverse=inverse)

    def without(self, gone: Collection[int]) -> np.ndarray:
        """Weight (out, d) whose other columns make up for those of classes that go, which are zero."""
        columns = np.concatenate([self.columns[one] for one in gone if one in self.columns] or [np.zeros(0, int)])
        if self.inverse is None or not len(columns):
            return self.weight
        share = np.linalg.solve(self.inverse[np.ix_(columns, columns)], self.inverse[columns])
        found: np.ndarray = self.weight - self.weight[:, columns] @ share
        return found

    def costs(self, classes: Sequence[int]) -> np.ndarray:
        """Cost of removing each class that it reads, (n,)."""
        columns = np.stack([self.columns[one] for one in classes])  # (n, b)
        own = self.weight[:, columns].transpose(1, 2, 0)  # (n, b, out)
        if self.inverse is None:
            products = np.square(own)
        else:
            blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
            products = own * np.linalg.solve(blocks, own)
        found: np.ndarray = self.scale * products.sum((1, 2))
        return found

    def remove(self, one: int) -> None:
        """Eliminate a class; the other weights make up for it."""
        if self.inverse is not None:
            columns = self.columns[one]
            share = np.linalg.solve(self.inverse[np.ix_(columns, columns)], self.inverse[columns])
            self.weight[...] -= self.weight[:, columns] @ share
            self.inverse[...] -= self.inverse[:, columns] @ share


def elimination(classes: Sequence[int], readers: Sequence[Reader]) -> Curve:
    """Order in which classes go, the cheapest each time, down to the last one."""
    concerned = [reader for reader in readers if not reader.columns.keys().isdisjoint(classes)]
    if all(reader.inverse is None for reader in concerned):  # nothing makes up for what goes: costs never change
        cost = _costs(classes, concerned)
        ranks = np.argsort(cost, kind="stable")[:-1]
        return Curve(np.array(classes, np.int64)[ranks], np.cumsum(cost[ranks]))
    here = [reader.copy() for reader in concerned]
    left, order, costs = list(classes), [], []
    while len(left) > 1:
        cost = _costs(left, here)
        cheapest = int(cost.argmin())
        costs.append(float(cost[cheapest]))
        order.append(left.pop(cheapest))
        for reader in here:
            if order[-1] in reader.columns:
                reader.remove(order[-1])
    return Curve(np.array(order, np.int64), np.cumsum(costs))


def _costs(classes: Sequence[int], readers: Sequence[Reader]) -> np.ndarray:
    """Summed cost of removing each class, (n,)."""
    cost = np.zeros(len(classes))
    for reader in readers:
        read = [i for i, one in enumerate(classes) if one in reader.columns]
        if read:
            cost[read] += reader.costs([classes[i] for i in read])
    return cost


def reading(network: Network) -> dict[str, frozenset[int]]:
    """Layers that read channels of others, with the classes that they read.

    Depthwise convolutions are none: they lose what they read.
    """
    channels = channels_of(network)
    nodes = [network.by_name[name] for name in channels.made]
    return {
        node.name: frozenset(channels.lines[node.inputs[0]].classes.tolist())
        for node in nodes if not lost_whole(network, node)
    }  # fmt: skip


def readers_of(
    network: Network, names: Iterable[str], batches: Sequence[Tensor], tick: Tick = quiet
) -> dict[str, list[Reader]]:
    """Readers of the named layers, one for each group, with moments of their inputs over calibration samples.

    Those of a layer are the same bit for bit whatever others are asked for. Raises DataError naming a
    layer whose input holds NaN or infinite values.
    """
    nodes = [network.by_name[name] for name in names]
    narrow = [node.name for node in nodes if _width(network, node) <= WIDEST]
    moments = input_moments(network, narrow, batches, tick)
    variance = _variances(network, nodes, batches)
    found = {}
    for node in nodes:
        own = moments.get(node.name)
        second = None if own is None else _damped(own.root.T @ own.root, _rows(network, node, batches))
        found[node.name] = _readers(network, node, second, None if own is None else own.mean, variance[node.name])
    return found


def weight_readers(network: Network, names: Iterable[str]) -> dict[str, list[Reader]]:
    """Readers that know no samples: the cost of a channel is its share of the squared weights that read it."""
    return {name: _readers(network, network.by_name[name], None, None, 1.0) for name in names}


def _damped(second: np.ndarray, rows: int) -> np.ndarray:
    """Moments with a ridge of their mean for each unknown as there are few rows: these would fit any error."""
    damped: np.ndarray = second + np.eye(len(second)) * (np.trace(second) / rows)
    return damped


def _rows(network: Network, node: Node, batches: Sequence[Tensor]) -> int:
    """Rows that the moments of a layer are taken over."""
    shape = channels_of(network).shapes[node.name if node.kind == "conv" else node.inputs[0]]
    places = math.prod(shape[1:-1] if node.kind == "linear" else shape[2:])
    return min(PATCHES, places * sum(len(batch) for batch in batches))


def _inputs(network: Network, node: Node) -> int:
    shape = channels_of(network).shapes[node.inputs[0]]
    return shape[-1 if node.kind == "linear" else 1]


def lost_whole(network: Network, node: Node) -> bool:
    """True for a depthwise layer: its filters go with the channels that they read."""
    groups: int = node.operator.settings().get("groups", 1)
    return 1 < groups == _inputs(network, node)


def _width(network: Network, node: Node) -> int:
    groups, _, width = weights_of(node.operator).shape
    return groups * width


def _readers(
    network: Network, node: Node, second: np.ndarray | None, mean: np.ndarray | None, variance: float
) -> list[Reader]:
    """One reader for each group of a layer."""
    weights = weights_of(node.operator).double().numpy()
    line = channels_of(network).lines[node.inputs[0]]
    size = _inputs(network, node)
    each = weights.shape[2] * len(weights) // size
    classes = np.repeat(np.broadcast_to(line.classes, (size,)), each).reshape(len(weights), -1)
    found = []
    for i, (weight, own) in enumerate(zip(weights, classes, strict=True)):
        part = slice(i * len(own), (i + 1) * len(own))
        inverse = None if second is None else np.linalg.inv(second[part, part])
        scale = 1 / max(np.square(weight).sum(), 1e-30) if second is None else 1 / variance
        order = np.argsort(own, kind="stable")
        known, starts = np.unique(own[order], return_index=True)
        columns = dict(zip(known.tolist(), np.split(order, starts[1:]), strict=True))
        found.append(Reader(weight, inverse, columns, scale, None if mean is None else mean[part]))
    return found


def _variances(network: Network, nodes: Sequence[Node], batches: Sequence[Tensor]) -> dict[str, float]:
    """Variance of what each layer gives, summed over its channels; of the sum where it is only added."""
    tensors = {}
    for node in nodes:
        readers = network.consumers(node.name)
        added = len(readers) == 1 and readers[0].kind == "add"
        tensors[node.name] = readers[0].name if added else node.name
    found: dict[str, float] = {}

    def visit(node: Node, value: Tensor) -> None:
        if node.name in tensors.values():
            axis = -1 if node.kind == "linear" else 1
            rows = value.movedim(axis, -1).flatten(0, -2)
            found[node.name] = max(float(rows.var(0, correction=0).sum()), 1e-30)

    samples = torch.cat(list(batches))[: SAMPLES if network.free_batch else 1]
    network.run((samples,), visit=visit)
    return {name: found[tensor] for name, tensor in tensors.items()}
