"""What a network is trained towards, and how well it does: labels, or another network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from studio.engine.score import Metric, choose
from studio.jobs._samples import Samples
from studio.network.network import Network

Values = Mapping[str, Tensor]
Forward = Callable[[Tensor, Collection[str]], Values]
"""`forward(x, keep)`: outputs and kept nodes by name."""


class Goal:
    """Loss and metric for networks with the outputs of `network`.

    With labels: cross-entropy and top-1. Without: the outputs of `network`, which is then the teacher;
    for a classifier Kullback-Leibler divergence and agreement, for anything else squared error and cosine.
    """

    def __init__(self, network: Network, shapes: Sequence[tuple[int, ...]], samples: Samples, smoothing: float) -> None:
        labels = None if samples.labels is None else samples.labels.numpy()
        self.metric: Metric = choose(labels, shapes, network.input_shape)
        self.outputs = network.outputs
        self.logits = logits_of(network) if self.metric != "cosine" else None
        self._network, self._samples, self._smoothing = network, samples, smoothing
        self._reference: list[Values] | None = None

    @property
    def keep(self) -> tuple[str, ...]:
        """Nodes that `loss` needs besides the outputs."""
        return () if self.logits is None else (self.logits,)

    def loss(self, values: Values, x: Tensor, labels: Tensor | None) -> Tensor:
        """Mean over the batch of what is to become small."""
        if labels is not None and self.logits is not None:
            return functional.cross_entropy(rows(values[self.logits]), labels, label_smoothing=self._smoothing)
        return self.response(values, self.teach(x), 1.0)

    def response(self, values: Values, teacher: Values, temperature: float) -> Tensor:
        """Distance to a teacher's outputs: `T^2 KL` at temperature T (Hinton 2015), or relative squared error."""
        if self.logits is None:
            parts = [_relative_error(values[name], teacher[name]) for name in self.outputs]
            return torch.stack(parts).mean()
        return divergence(rows(values[self.logits]), rows(teacher[self.logits]), temperature)

    def teach(self, x: Tensor) -> Values:
        """Outputs of `network` itself, without gradients."""
        return forward_of(self._network)(x, self.keep)

    def measure(self, forward: Forward) -> float:
        """Metric on the validation samples, 0..1."""
        found, count = 0.0, 0
        for i, (x, labels) in enumerate(self._samples.validation):
            with torch.no_grad():
                values = forward(x, ())
            found += self._score(values, labels, i) * len(x)
            count += len(x)
        return found / count

    def _score(self, values: Values, labels: Tensor | None, batch: int) -> float:
        if labels is not None and self.metric == "top1":
            return float((rows(values[self.outputs[0]]).argmax(1) == labels).double().mean())
        theirs = self._taught()[batch]
        if self.metric == "cosine":
            pairs = [functional.cosine_similarity(values[n].flatten(1), theirs[n].flatten(1)) for n in self.outputs]
            return float(torch.stack(pairs).double().mean())
        name = self.outputs[0]
        return float((rows(values[name]).argmax(1) == rows(theirs[name]).argmax(1)).double().mean())

    def _taught(self) -> list[Values]:
        if self._reference is None:
            self._reference = [self.teach(x) for x, _ in self._samples.validation]
        return self._reference


def forward_of(network: Network) -> Forward:
    """Forward pass of a network that is not trained."""

    def forward(x: Tensor, keep: Collection[str]) -> Values:
        parts = [x] if network.free_batch else list(torch.split(x, 1))
        found = [network.run((part,), keep=list(keep)) for part in parts]
        return {name: torch.cat([one[name] for one in found]) for name in found[0]}

    return forward


def logits_of(network: Network) -> str:
    """Node before the last softmax (a reshape may stand behind it); the output itself where there is none."""
    name = network.outputs[0]
    node = network.by_name[name]
    while node.kind == "reshape":
        node = network.by_name[node.inputs[0]]
    return node.inputs[0] if node.kind == "softmax" else name


def rows(values: Tensor) -> Tensor:
    """Class scores as (N, classes)."""
    return values.flatten(1)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(teacher || student)` of logits (N, classes), mean over the batch."""
    ours, theirs = (functional.log_softmax(v / temperature, 1) for v in (student, teacher))
    distance: Tensor = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return distance * temperature**2


def _relative_error(values: Tensor, teacher: Tensor) -> Tensor:
    return torch.div((values - teacher).square().mean(), teacher.square().mean().clamp_min(1e-12))
