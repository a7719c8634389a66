"""Gradients of the loss on labelled samples: what each channel's output does to it (criterion `taylor`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studio.core.errors import Cancelled, DataError
from studio.data import Dataset
from studio.engine.statistics import CHUNK, activated, channel_axes
from studio.network.network import Network


def channel_effects(
    network: Network,
    dataset: Dataset,
    indices: Sequence[int] | np.ndarray,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, np.ndarray]:
    """Mean over samples of |sum over places of A * dLoss/dA| for each weighted layer's channels, (channels,) float64.

    The loss is the cross entropy of the network's first output (N, classes), probabilities or not. Raises
    DataError without labels or where the output is no row of classes, Cancelled when `cancelled()` says so.
    """
    labels = dataset.labels
    if labels is None:
        remedy = "Give labelled data, or choose another criterion."
        raise DataError("this criterion needs labels, and the data has none.", where=dataset.source, remedy=remedy)
    tensors = activated(network)
    axes = channel_axes(network)
    totals: dict[str, np.ndarray] = {}
    indices = np.asarray(indices, dtype=np.int64)
    step = CHUNK if network.free_batch else 1
    for start in range(0, len(indices), step):
        if cancelled and cancelled():
            raise Cancelled
        part = indices[start : start + step]
        products = _products(network, torch.from_numpy(dataset.batch(part)), labels[part], set(tensors.values()))
        for name, product in products.items():
            totals[name] = totals.get(name, 0.0) + _effect(product, axes[name])
        if progress:
            progress(min(start + step, len(indices)), len(indices))
    return {layer: totals[name] / len(indices) for layer, name in tensors.items()}


def _effect(product: Tensor, axis: int) -> np.ndarray:
    """|sum over places| of each channel, summed over samples."""
    rows = product.movedim(axis, 1).flatten(2).sum(2) if product.dim() > 2 else product
    effect: np.ndarray = rows.abs().double().sum(0).numpy()
    return effect


def _products(network: Network, x: Tensor, labels: np.ndarray, wanted: set[str]) -> Mapping[str, Tensor]:
    """`A * dLoss/dA` of the wanted tensors; the losses of single samples are summed, so that none sees another."""
    values: dict[str, Tensor] = {}
    with torch.enable_grad():
        for node in network.nodes:
            arguments = [x.requires_grad_()] if node.kind == "input" else [values[name] for name in node.inputs]
            values[node.name] = node.operator(*arguments)
        loss = _loss(network, values[network.outputs[0]], labels)
        names = sorted(wanted)
        found = torch.autograd.grad(loss, [values[name] for name in names], allow_unused=True)
    return {
        name: torch.zeros_like(values[name]) if gradient is None else (values[name] * gradient).detach()
        for name, gradient in zip(names, found, strict=True)
    }


def _loss(network: Network, output: Tensor, labels: np.ndarray) -> Tensor:
    scores = output.flatten(1)
    truth = torch.from_numpy(np.asarray(labels, np.int64))
    if output.numel() != len(output) * output.shape[1] or int(truth.max()) >= scores.shape[1]:
        what = f"the network's output {tuple(output.shape[1:])} is no row of scores for the labels of the data."
        raise DataError(what, where=network.outputs[0], remedy="Choose a criterion that needs no labels.")
    if network.by_name[network.outputs[0]].kind == "softmax":
        return functional.nll_loss(scores.clamp(min=1e-12).log(), truth, reduction="sum")
    return functional.cross_entropy(scores, truth, reduction="sum")
