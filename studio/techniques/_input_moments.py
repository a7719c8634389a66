"""Second moments of what a layer's filters look at, from calibration samples: one pass for all layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
        for part in torch.split(innermost(batch), size):
            network.run((part,), visit=visit)
    return {name: one.finish() for name, one in running.items()}


class _Running:
    """Sums of one layer while batches come in."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.generator = np.random.default_rng(0)
        self.count = 0
        self.order: np.ndarray | slice = slice(None)
        self.total: np.ndarray | float = 0.0
        self.outer: np.ndarray | float = 0.0

    def add(self, value: Tensor, rows: int) -> None:
        found = patches(value, self.node, rows, self.generator)
        self.order = by_channel(*found.shape[1:]) if found.shape[1] > 1 else slice(None)
        seen = found.flatten(1).numpy()
        total = seen.sum(0, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            outer = seen.T @ seen
        if not (np.isfinite(total).all() and np.isfinite(outer).all()):
            what = f"the input of layer '{self.node.name}' holds NaN or huge values on the calibration samples."
            raise DataError(what, remedy="Check the preprocessing (scale, mean, std) and the model's weights.")
        self.count += len(seen)
        self.total = self.total + total
        self.outer = self.outer + outer.astype(np.float64)

    def finish(self) -> Moments:
        operator = self.node.operator
        shifts = operator.state_dict().get("bias") is not None and not isinstance(operator, ConvTranspose)
        mean = np.asarray(self.total)[self.order] / self.count if shifts else None
        second = np.asarray(self.outer)[self.order][:, self.order] / self.count
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
    """At most `rows` of the patches (rows, kernel places, in) that the layer's filters are laid on.

    Channels lie innermost: so a patch is a few whole pieces of memory where `x` lies so too. A
    transposed convolution and a linear layer look at one place at a time.
    """
    operator = node.operator
    if not isinstance(operator, Conv):
        flat = x.movedim(1, -1) if isinstance(operator, ConvTranspose) else x
        flat = flat.reshape(-1, flat.shape[-1])
        return flat[chosen(len(flat), rows, generator)][:, None]
    x = x.movedim(1, -1).contiguous()
    sizes = x.shape[1:-1]
    places = (len(x), *output_sizes(operator, sizes))
    index, *at = (one[:, None] for one in np.unravel_index(chosen(math.prod(places), rows, generator), places))
    inside: np.ndarray = np.ones(index.shape, np.bool_)
    for axis, size in enumerate(sizes):
        taps = np.arange(operator.weight.shape[2 + axis]) * operator.dilation[axis] - operator.pads[axis]
        along = (at[axis] * operator.stride[axis] + taps)[:, None, :]
        inside = (inside[:, :, None] & (along >= 0) & (along < size)).reshape(len(index), -1)
        index = (index[:, :, None] * size + along.clip(0, size - 1)).reshape(len(index), -1)
    found = x.reshape(-1, x.shape[-1]).index_select(0, torch.from_numpy(index.reshape(-1)))
    found = found.reshape(*index.shape, -1)
    found[torch.from_numpy(~inside)] = 0  # padding
    return found


def output_sizes(operator: Conv, sizes: Sequence[int]) -> tuple[int, ...]:
    """Height and width (or length) of a convolution's output."""
    rank, kernel = len(sizes), operator.weight.shape[2:]
    return tuple(
        (size + operator.pads[i] + operator.pads[rank + i] - operator.dilation[i] * (kernel[i] - 1) - 1)
        // operator.stride[i] + 1
        for i, size in enumerate(sizes)
    )  # fmt: skip


def chosen(count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    """At most `rows` of `count` places, at random, in the order in which they lie in memory."""
    found: np.ndarray = np.sort(generator.choice(count, min(rows, count), replace=False))
    return found


def innermost(x: Tensor) -> Tensor:
    """The same samples (N, C, H, W) with channels innermost in memory: convolutions and patches are faster so."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def by_channel(places: int, inputs: int) -> np.ndarray:
    """Where each value of a weight's row (in * kernel places) lies in a patch (kernel places * in)."""
    return np.arange(places * inputs).reshape(places, inputs).T.reshape(-1)
