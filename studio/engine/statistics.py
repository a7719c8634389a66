"""Statistics of every tensor in one pass over calibration samples: ranges, histograms, channels.

One pass serves all criteria and all ways to choose a range.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from studio.core.errors import Cancelled, DataError
from studio.criteria import ChannelStatistics
from studio.data import Dataset
from studio.network.content import weights_key
from studio.network.cost import PASSED
from studio.network.network import Network, Node

CHUNK = 50
"""Samples that are run together."""
BINS = 2048
ACTIVATIONS = frozenset({"relu", "leaky_relu", "prelu", "clip", "sigmoid", "hard_sigmoid", "hard_swish", "tanh"})


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """One tensor over all samples and places; channels lie on axis 1 (the last one behind a linear layer)."""

    minimum: float
    maximum: float
    counts: np.ndarray  # (2048,) int64
    edges: np.ndarray  # (2049,) float64, zero among or between them
    mean_absolute: np.ndarray  # (C,) float64
    zeros: np.ndarray  # (C,) share of exact zeros
    count: int  # values of one channel
    mean: np.ndarray | None = None  # (C,) over samples and places
    covariance: np.ndarray | None = None  # (C, C) of the channels over samples and places, where asked for


@dataclass(frozen=True, eq=False)
class Statistics:
    """All tensors of a network by name, with the tensor that is each weighted layer's activated output."""

    tensors: Mapping[str, TensorStatistics]
    activation: Mapping[str, str]  # weighted layer -> tensor "A" of TECHNIQUES.md
    samples: int
    key: str

    def channels(self, layer: str, threshold: float | None = None) -> ChannelStatistics:
        """Return what criteria may look at for a weighted layer; `threshold` is the network's, for `magnitude`."""
        tensor = self.tensors[self.activation[layer]]
        return ChannelStatistics(tensor.mean_absolute, tensor.zeros, self.samples, threshold)


def collect(
    network: Network,
    dataset: Dataset,
    indices: Sequence[int] | np.ndarray,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    covariance: Sequence[str] = (),
) -> Statistics:
    """Run `indices` of `dataset` through the network once and keep statistics of every node's output.

    `progress(done, total)` counts samples. Raises Cancelled when `cancelled()` says so between
    chunks, and DataError that names the layer where NaN or infinite values appear.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if len(indices) == 0:
        raise DataError("statistics need samples, and none are chosen.", where=dataset.source, remedy="Choose some.")
    axes = channel_axes(network)
    running = {n.name: _Running(axes[n.name], n.name in covariance) for n in network.nodes}

    def visit(node: Node, value: Tensor) -> None:
        if node.kind != "constant" or running[node.name].histogram.empty:
            running[node.name].add(value, node.name, dataset.source)

    step = CHUNK if network.free_batch else 1
    for start in range(0, len(indices), CHUNK):
        if cancelled and cancelled():
            raise Cancelled
        x = torch.from_numpy(dataset.batch(indices[start : start + CHUNK]))
        for part in torch.split(x, step):
            network.run((part,), visit=visit)
        if progress:
            progress(min(start + CHUNK, len(indices)), len(indices))
    tensors = {name: found.finish() for name, found in running.items()}
    key = collect_key(network, dataset, indices, covariance)
    return Statistics(tensors, activated(network), len(indices), key)


def collect_key(
    network: Network, dataset: Dataset, indices: Sequence[int] | np.ndarray, covariance: Sequence[str] = ()
) -> str:
    """Content key of what `collect` would give: equal keys, equal statistics."""
    chosen = np.asarray(indices, dtype=np.int64).tobytes()
    facts = [weights_key(network), dataset.content_id, hashlib.sha256(chosen).hexdigest(), *sorted(covariance)]
    return "sha256:" + hashlib.sha256("\n".join(facts).encode()).hexdigest()


def activated(network: Network) -> dict[str, str]:
    """Return the tensor that is each weighted layer's output after its activation, also behind an add.

    A layer whose output is read more than once, or by anything but an activation, is its own.
    """
    return {n.name: _follow(network, n.name) for n in network.nodes if n.kind in ("conv", "conv_transpose", "linear")}


def _follow(network: Network, layer: str) -> str:
    name = layer
    while len(readers := network.consumers(name)) == 1 and name not in network.outputs:
        if readers[0].kind in ACTIVATIONS:
            return readers[0].name
        if readers[0].kind not in PASSED:
            break
        name = readers[0].name
    return layer


def channel_axes(network: Network) -> dict[str, int]:
    """Axis of the channels in each node's output: 1, but the last behind a linear layer over sequences."""
    axes: dict[str, int] = {}
    for node in network.nodes:
        kept = node.kind in ACTIVATIONS or node.kind in ("add", "batch_norm")
        inherited = axes.get(node.inputs[0], 1) if kept and node.inputs else 1
        axes[node.name] = -1 if node.kind == "linear" else inherited
    return axes


class _Running:
    """One tensor's statistics while chunks come in."""

    def __init__(self, axis: int, covariance: bool) -> None:
        self.axis = axis
        self.histogram = Histogram()
        self.count = 0
        self.absolute: np.ndarray | float = 0.0
        self.zeros: np.ndarray | float = 0.0
        self.outer: np.ndarray | float | None = 0.0 if covariance else None
        self.total: np.ndarray | float = 0.0

    def add(self, value: Tensor, name: str, where: str) -> None:
        value = value if value.is_floating_point() else value.float()
        low, high = (float(v) for v in torch.aminmax(value))
        if not math.isfinite(low) or not math.isfinite(high):
            remedy = "Check the preprocessing (scale, mean, std) and the model's weights."
            what = f"layer '{name}' gives NaN or infinite values on these samples."
            raise DataError(what, where=where, remedy=remedy)
        self.histogram.add(value, low, high)
        value = value.unsqueeze(0) if value.dim() < 2 else value
        places = [d for d in range(value.dim()) if d != self.axis % value.dim()]
        seen = value.numel() // value.shape[self.axis]
        self.count += seen
        total = value.sum(places).double().numpy()
        self.absolute = self.absolute + (total if low >= 0 else value.abs().sum(places).double().numpy())
        self.zeros = self.zeros + (value == 0).sum(places).numpy()
        if self.outer is not None:
            rows = value.movedim(self.axis, 0).flatten(1).double()
            self.outer = self.outer + (rows @ rows.T).numpy()
            total = rows.sum(1).numpy()
        self.total = self.total + total

    def finish(self) -> TensorStatistics:
        counts, edges = self.histogram.counts, self.histogram.edges
        mean, covariance = np.asarray(self.total) / self.count, None
        if self.outer is not None:
            covariance = np.asarray(self.outer) / self.count - np.outer(mean, mean)
        return TensorStatistics(
            self.histogram.minimum, self.histogram.maximum, counts, edges, np.asarray(self.absolute) / self.count,
            np.asarray(self.zeros) / self.count, self.count, mean, covariance,
        )  # fmt: skip


class Histogram:
    """2048 bins whose range doubles towards a value that lies outside, so that one pass is enough."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.low, self.width = 0.0, 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self._zeros = 0  # seen before any other value gave the range

    @property
    def empty(self) -> bool:
        """True before the first value."""
        return self.minimum > self.maximum

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, (2049,)."""
        return self.low + (self.width or 1.0 / BINS) * np.arange(BINS + 1)

    def add(self, values: Tensor, low: float, high: float) -> None:
        """Count `values`, whose least and largest are `low` and `high`."""
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        if self.width == 0.0 and not self._start(min(low, 0.0), max(high, 0.0)):
            self.counts[0] += values.numel()
            return
        while high > self.low + BINS * self.width:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, dtype=np.int64)])
            self.width *= 2
        while low < self.low:
            self.counts = np.concatenate([np.zeros(BINS // 2, dtype=np.int64), self.counts.reshape(-1, 2).sum(1)])
            self.low -= BINS * self.width
            self.width *= 2
        places = values.flatten().sub(self.low).mul_(1 / self.width).to(torch.int32).clamp_(0, BINS - 1)
        self.counts += torch.bincount(places, minlength=BINS).numpy()

    def _start(self, low: float, high: float) -> bool:
        """Choose the first range so that zero is an edge; False where all values are zero so far."""
        if low == high:
            return False
        # Two bins are spare: one for rounding up to the edge at zero, one for zero itself where it is the largest.
        self.width = (high - low) / (BINS - 2)
        below = math.ceil(-low / self.width) if low < 0 else 0
        self.low = -below * self.width
        zeros, self.counts[0] = int(self.counts[0]), 0
        self.counts[below] = zeros
        return True
