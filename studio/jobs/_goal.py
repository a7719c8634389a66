"""What a network is trained towards, and how well it does: labels, or another network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studio.engine.score import Metric, choose
from studio.jobs._samples import Samples
from studio.network.network import Network

Values = Mapping[str, Tensor]
Forward = Callable[[Tensor, Collection[str]], Values]
"""`forward(x, keep)`: outputs and kept nodes by name."""
MARGIN = 20.0
"""Lead of the best class score over the next (median) up to which scores are learned by soft labels as they are."""


class Model(Protocol):
    """A network with a forward pass of its own."""

    network: Network

    def __call__(self, x: Tensor, keep: Collection[str] = ()) -> Values:
        """Outputs and kept nodes by name for a batch x."""


@dataclass(frozen=True)
class Ends:
    """Where a network says what it thinks: class scores before a softmax, or all its outputs."""

    outputs: tuple[str, ...]
    logits: str | None  # None where it is no classifier

    @property
    def keep(self) -> tuple[str, ...]:
        """Nodes that are needed besides the outputs."""
        return () if self.logits is None else (self.logits,)

    def of(self, values: Values) -> list[Tensor]:
        """Class scores (N, classes), or each output."""
        return [values[name] for name in self.outputs] if self.logits is None else [rows(values[self.logits])]


def ends_of(network: Network, classifier: bool) -> Ends:
    """Ends of a network."""
    return Ends(network.outputs, logits_of(network) if classifier else None)


class Goal:
    """Loss and metric for networks with as many outputs as `network`, of the same shapes; names may differ.

    With labels: cross-entropy and top-1. Without: the outputs of `network`, which is then the teacher;
    for a classifier Kullback-Leibler divergence and agreement, for anything else squared error and cosine.
    """

    def __init__(self, network: Network, shapes: Sequence[tuple[int, ...]], samples: Samples, smoothing: float) -> None:
        labels = None if samples.labels is None else samples.labels.numpy()
        self.metric: Metric = choose(labels, shapes, network.input_shape)
        self.labelled = labels is not None
        self.classifier = self.metric != "cosine"
        self._network, self._samples, self._smoothing = network, samples, smoothing
        self._ends = self.ends(network)
        self._reference: list[list[Tensor]] | None = None

    def ends(self, network: Network) -> Ends:
        """Ends of a network that is trained towards this goal."""
        return ends_of(network, self.classifier)

    def loss(self, mine: Sequence[Tensor], x: Tensor, labels: Tensor | None) -> Tensor:
        """Mean over the batch of what is to become small; `mine`: what the ends give for x."""
        if labels is not None and self.classifier:
            soft = self._smoothing > 0 or labels.is_floating_point()
            scores = mine[0] / self._scale if soft else mine[0]
            return functional.cross_entropy(scores, labels, label_smoothing=self._smoothing)
        return self.response(mine, self._teach(x), 1.0)

    def response(self, mine: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float) -> Tensor:
        """Distance to a teacher's ends: `T^2 KL` at temperature T (Hinton 2015), or relative squared error."""
        if self.classifier:
            return divergence(mine[0], teacher[0], temperature)
        return torch.stack([relative_error(a, b) for a, b in zip(mine, teacher, strict=True)]).mean()

    def measure(self, model: Model) -> float:
        """Metric on the validation samples, 0..1."""
        return float(self.scores(model).mean())

    def scores(self, model: Model) -> np.ndarray:
        """Metric of each validation sample, float64 (samples,): 0 or 1, or a cosine."""
        ends, found = self.ends(model.network), []
        for i, (x, labels) in enumerate(self._samples.validation):
            with torch.no_grad():
                mine = ends.of(model(x, ends.keep))
                found.append(self._score(mine, labels, i).double())
        return torch.cat(found).numpy()

    @cached_property
    def _scale(self) -> float:
        """What scores are divided by before soft labels: a network with leads of hundreds would unlearn all to obey."""
        with torch.no_grad():
            scores = self._teach(self._samples.some)[0]
        best = scores.topk(min(2, scores.shape[1]), 1).values
        return max(1.0, float((best[:, 0] - best[:, -1]).median()) / MARGIN)

    def _score(self, mine: Sequence[Tensor], labels: Tensor | None, batch: int) -> Tensor:
        if labels is not None and self.metric == "top1":
            return mine[0].argmax(1) == labels
        theirs = self._taught()[batch]
        if self.classifier:
            return mine[0].argmax(1) == theirs[0].argmax(1)
        pairs = zip(mine, theirs, strict=True)
        return torch.stack([functional.cosine_similarity(rows(a), rows(b)) for a, b in pairs]).mean(0)

    def _teach(self, x: Tensor) -> list[Tensor]:
        return self._ends.of(forward_of(self._network)(x, self._ends.keep))

    def _taught(self) -> list[list[Tensor]]:
        if self._reference is None:
            self._reference = [self._teach(x) for x, _ in self._samples.validation]
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
    """One row a sample: (N, ...) -> (N, values)."""
    return values.flatten(1)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(teacher || student)` of logits (N, classes), mean over the batch."""
    ours, theirs = (functional.log_softmax(v / temperature, 1) for v in (student, teacher))
    distance: Tensor = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return distance * temperature**2


def relative_error(values: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over the teacher's mean square."""
    return torch.div((values - teacher).square().mean(), teacher.square().mean().clamp_min(1e-12))
