"""Second moments of what a layer's filters look at, from calibration samples: one pass for all layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studio.core.errors import DataError
from studio.network.network import Network, Node
from studio.network.operators import Conv, ConvTranspose
from studio.techniques._rewrite import Tick, quiet

PATCHES = 8192
"""Places looked at for one layer, spread over all samples; more change the factors' accuracy by nothing measurable."""
RIDGE = 1e-3
"""Share of the mean second moment added to each input: directions that the samples do not show still count a little."""


@dataclass(frozen=True, eq=False)
class Moments:
    """`root` (d, d) with `root.T @ root` = second moments about `mean` (d,), ridge included, float64.

    d = in * kernel places in the order of the weight's axes; a transposed convolution's and a linear
    layer's is `in`. Where the layer has no bias that could take up a shift, `mean` is None and counts as zero.
    """

    root: np.ndarray
    mean: np.ndarray | None


def input_moments(
    network: Network, names: Iterable[str], batches: Sequence[Tensor], tick: Tick = quiet
) -> Mapping[str, Moments]:
    """Moments for the named layers over `batches` of the network's input, (N, ...) float32 each.

    Raises DataError naming the layer whose input holds NaN or infinite values.
    """
    running = {name: _Running(network.by_name[name]) for name in names}
    readers: dict[str, list[_Running]] = {}
    for one in running.values():
        readers.setdefault(one.node.inputs[0], []).append(one)
    total = sum(len(batch) for batch in batches)
    size = max(map(len, batches)) if network.free_batch else 1

    def visit(node: Node, value: Tensor) -> None:
        for reader in readers.get(node.name, ()):
            reader.add(value, -(-PATCHES * len(value) // total))

    for i, batch in enumerate(batches):
        tick("Looking at the inputs of the layers", i, len(batches))
        for part in torch.split(batch, size):
            network.run((part,), visit=visit)
    return {name: one.finish() for name, one in running.items()}


class _Running:
    """Sums of one layer while batches come in."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.generator = np.random.default_rng(0)
        self.count = 0
        self.total: np.ndarray | float = 0.0
        self.outer: np.ndarray | float = 0.0

    def add(self, value: Tensor, rows: int) -> None:
        seen = patches(value, self.node, rows, self.generator)
        if not torch.isfinite(seen).all():
            what = f"the input of layer '{self.node.name}' holds NaN or infinite values on the calibration samples."
            raise DataError(what, remedy="Check the preprocessing (scale, mean, std) and the model's weights.")
        self.count += len(seen)
        self.total = self.total + seen.double().sum(0).numpy()
        self.outer = self.outer + (seen.T @ seen).double().numpy()

    def finish(self) -> Moments:
        operator = self.node.operator
        shifts = operator.state_dict().get("bias") is not None and not isinstance(operator, ConvTranspose)
        mean = np.asarray(self.total) / self.count if shifts else None
        second = np.asarray(self.outer) / self.count
        if mean is not None:
            second = second - np.outer(mean, mean)
        ridge = RIDGE * np.trace(second) / len(second)
        ridge = ridge if ridge > 0 else 1.0  # inputs that never change: all count alike
        second[np.diag_indices_from(second)] += ridge
        return Moments(_root(second), mean)


def _root(second: np.ndarray) -> np.ndarray:
    """Return `root` (d, d) with `root.T @ root == second` (d, d)."""
    try:
        root: np.ndarray = np.linalg.cholesky(second).T
    except np.linalg.LinAlgError:
        # Inputs that hardly vary about a large mean: the float32 sums leave variances a little below zero.
        values, vectors = np.linalg.eigh(second)
        single = np.finfo(np.float32)
        least = float(single.eps) * max(float(values[-1]), float(single.tiny))
        root = np.sqrt(np.maximum(values, least))[:, None] * vectors.T
    return root


def patches(x: Tensor, node: Node, rows: int, generator: np.random.Generator) -> Tensor:
    """At most `rows` of the patches (rows, in * kernel places) that the layer's filters are laid on."""
    operator = node.operator
    if not isinstance(operator, Conv):
        flat = x.movedim(1, -1) if isinstance(operator, ConvTranspose) else x
        flat = flat.reshape(-1, flat.shape[-1])
        return flat[_chosen(len(flat), rows, generator)]
    rank = operator.weight.dim() - 2
    pads = [(operator.pads[i], operator.pads[rank + i]) for i in reversed(range(rank))]
    x = functional.pad(x, [end for pair in pads for end in pair])
    for i, size in enumerate(operator.weight.shape[2:]):
        reach = operator.dilation[i] * (size - 1) + 1
        x = x.unfold(2 + i, reach, operator.stride[i])[..., :: operator.dilation[i]]
    places = (len(x), *x.shape[2 : 2 + rank])
    at = np.unravel_index(_chosen(int(np.prod(places)), rows, generator), places)
    samples, *where = (torch.from_numpy(index) for index in at)
    # Channels last, so that one index a place picks whole patches.
    x = x.movedim(1, 1 + rank)
    return x[(samples, *where)].flatten(1)


def _chosen(count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    return generator.choice(count, min(rows, count), replace=False)
