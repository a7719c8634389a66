"""Batch norm behind the layers of a network in training, folded into them when it has done its work."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from studio.core.graph import WEIGHTED
from studio.jobs._forms import Form
from studio.jobs._optimizers import Group
from studio.jobs._restore import by_channel, can_scale, moments, scale_channels
from studio.jobs._samples import Samples
from studio.jobs._trainable import Change, Trainable

ASKED = 2048
"""Samples from which statistics are taken."""
NEAR = 1e-5
"""Added to variances, relative to a layer's first one."""
LEAST = 1e-3
"""Least gain, relative to the first one: scales of integers stay positive."""
SMALLEST = 0.1
"""Least spread that a channel is taken to have, relative to the layer's: dead channels do not explode."""
FOLLOWING = (*WEIGHTED, "matmul")
"""Kinds behind which a norm is worth it."""


class Norms:
    """Batch norm (Ioffe and Szegedy 2015) that begins as what the layers give, so that nothing changes at the start.

    Each layer's output is brought to mean 0 and spread 1 over the batch in training, over many batches in validation,
    then changed by a gain and an offset that are learned. Single samples see what was found first. Layers without a
    bias, layers whose encoding has no scale for each channel and those that nothing weighted follows have none.
    """

    def __init__(self, model: Trainable, forms: Mapping[str, Form], samples: Samples) -> None:
        """`samples`: for statistics."""
        self._model, self._forms, self._samples = model, forms, samples
        self._folded = torch.zeros(())
        self._kept = 0.0  # share of a batch in what is kept
        self.moved = False  # True once a step has seen a batch
        self._own: dict[str, dict[str, Tensor]] = {}
        with model.hooked({name: self._first(name) for name in self._layers()}), torch.no_grad():
            model(samples.some)
        for name, own in self._own.items():
            model.norms[name] = self._norm(own)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: statistics, gains and offsets, and whether they are folded."""
        found = {f"{layer}:{name}": tensor for layer, own in self._own.items() for name, tensor in own.items()}
        return {**found, "folded": self._folded}

    def group(self, rate: float) -> Group:
        """Gains and offsets, in units of what each layer gives."""
        pairs = [(own[name], own["unit"]) for own in self._own.values() for name in ("gain", "offset")]
        return Group([tensor for tensor, _ in pairs], [unit for _, unit in pairs], rate)

    def limit(self) -> None:
        """After a step: gains stay positive."""
        for own in self._own.values():
            own["gain"].clamp_(min=LEAST * own["unit"])

    def estimate(self) -> None:
        """Take the statistics for validation anew, from the first batches that were trained on."""
        if self._folded or not self._model.network.free_batch:
            return
        size = self._samples.settings.batch_size
        for i in range(min(self._samples.batches, max(1, ASKED // size))):
            self._kept = 1 / (i + 1)
            with torch.no_grad():
                self._model(self._samples.batch(i)[0])
        self._kept = 0.0

    def fold(self, units: Mapping[str, Tensor]) -> None:
        """Put the norm into weights, scales and biases; `units`: of weights in training, which go with them.

        From here on there is none.
        """
        if self._folded:
            return
        self.estimate()
        with torch.no_grad():
            for name, own in self._own.items():
                weight, bias = (self._model.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
                factor = own["gain"] / (own["variance"] + _near(own)).sqrt()
                scale_channels(weight, self._forms.get(name), factor)
                bias.copy_(own["offset"] + factor * (bias - own["mean"]))
                units[f"{name}.weight"].mul_(by_channel(factor, weight.dim()))
        self._folded.fill_(1)

    def _layers(self) -> list[str]:
        """Layers that get a norm."""
        model, found = self._model, []
        followed: set[str] = set()
        for node in reversed(model.network.nodes):
            weighted = node.kind in FOLLOWING
            if weighted and node.name in followed and f"{node.name}.bias" in model.tensors:
                if can_scale(model, self._forms.get(node.name), node.name):
                    found.append(node.name)
            if weighted or node.name in followed:
                followed.update(node.inputs)
        return found

    def _first(self, name: str) -> Change:
        def look(y: Tensor) -> Tensor:
            if y.dim() == 2 or self._model.network.by_name[name].kind == "conv":
                mean, spread = moments(y, 1)
                spread = torch.maximum(spread, SMALLEST * spread.square().mean().sqrt().clamp_min(1e-12))
                self._own[name] = {
                    "mean": mean, "variance": spread.square(), "unit": spread.clone(),
                    "gain": spread.clone().requires_grad_(), "offset": mean.clone().requires_grad_(),
                }  # fmt: skip
            return y

        return look

    def _norm(self, own: Mapping[str, Tensor]) -> Change:
        near = _near(own)

        def norm(y: Tensor) -> Tensor:
            if self._folded:
                return y
            self.moved |= torch.is_grad_enabled()
            own_batch = (torch.is_grad_enabled() or self._kept > 0) and len(y) > 1
            return functional.batch_norm(
                y, own["mean"], own["variance"], own["gain"], own["offset"],
                training=own_batch, momentum=self._kept, eps=near,
            )  # fmt: skip

        return norm


def _near(own: Mapping[str, Tensor]) -> float:
    return NEAR * float(own["unit"].square().mean())
