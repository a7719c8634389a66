"""Weights of a pruned LeNet that share a few values a layer: k-means, then values and weights trained together.

Han et al. 2016, section 3: a value's gradient is the sum of its members'. The weights behind the values go on
along the same gradient (straight through) and take the nearest value again, until assignments are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from _lenet import Mnist, batches, rate
from _lenet_prune import Lean, Recipe, Teacher
from torch import Tensor

from studio.core.encoding import Codebook
from studio.techniques._kmeans import Sorted, lloyd, start

EVERY = 10
"""Steps between two assignments."""
FROZEN = 0.8
"""Share of the steps after which assignments stay."""
WEIGHT_RATE, VALUE_RATE, BIAS_RATE = 1e-3, 3e-4, 1e-3
LARGEST = 32767


@dataclass(eq=False)
class Shared:
    """Values (k,) of a layer, ascending, 0 for pruned weights not among them; each weight's index + 1, or 0."""

    values: Tensor
    indices: Tensor
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.values), torch.zeros_like(self.values)

    def weight(self) -> Tensor:
        """Weight that the indices and values give."""
        return torch.cat([self.values.new_zeros(1), self.values])[self.indices]

    def assign(self, weight: Tensor, mask: Tensor) -> None:
        """Give each kept weight the nearest value."""
        middle = (self.values[1:] + self.values[:-1]) / 2
        self.indices = (torch.bucketize(weight, middle) + 1) * (mask > 0)

    def step(self, gradient: Tensor, learning_rate: float, steps: int) -> None:
        """Adam on the summed gradient of each value's members."""
        summed = torch.zeros(len(self.values) + 1).index_add_(0, self.indices.flatten(), gradient.flatten())[1:]
        self.first.mul_(0.9).add_(summed, alpha=0.1)
        self.second.mul_(0.999).addcmul_(summed, summed, value=0.001)
        mean, square = self.first / (1 - 0.9**steps), self.second / (1 - 0.999**steps)
        self.values = (self.values - learning_rate * mean / (square.sqrt() + 1e-8)).sort().values

    def encoding(self) -> Codebook:
        """Codebook with values as 16-bit integers, zero first."""
        values = self.values.numpy()
        scale = np.float32(np.abs(values).max() / LARGEST)
        stored = np.concatenate([[0], np.rint(values / scale)]).astype("<i2")
        width = max(1, len(values).bit_length())
        return Codebook(self.indices.numpy().astype(np.uint8), stored[None], np.array([scale], np.float32), width)


def share(lean: Lean, data: Mnist, teacher: Teacher, recipe: Recipe, seed: int) -> list[Shared]:
    """Shared values of every layer, trained; the network's last bias is trained along, in place."""
    generator = torch.Generator().manual_seed(2000 + seed)
    made = [_cluster(w, m, k) for w, m, k in zip(lean.weights, lean.masks, recipe.values, strict=True)]
    latent = [w.clone() for w in lean.weights]
    velocity = [torch.zeros_like(w) for w in latent]
    for step, (way, places) in enumerate(batches(data.trained, recipe.share_epochs, generator)):
        if step % EVERY == 0 and way < FROZEN:
            for one, weight, mask in zip(made, latent, lean.masks, strict=True):
                one.assign(weight, mask)
        x, labels, taught = teacher.batch(places, generator)
        weights, bias = [one.weight().requires_grad_() for one in made], lean.biases[-1].requires_grad_()
        loss = teacher.loss(lean.run(weights, [*lean.biases[:-1], bias], x), labels, taught)
        gradients = torch.autograd.grad(loss, [*weights, bias])
        now = rate(way, 0.05)
        with torch.no_grad():
            bias.requires_grad_(False).sub_(BIAS_RATE * now * gradients[-1])
            for k, one in enumerate(made):
                gradient = gradients[k] * lean.masks[k]
                one.step(gradient, VALUE_RATE * now, step + 1)
                velocity[k].mul_(0.9).add_(gradient)
                latent[k].sub_(WEIGHT_RATE * now * (gradient + 0.9 * velocity[k]))
    return made


def _cluster(weight: Tensor, mask: Tensor, k: int) -> Shared:
    """K-means with `k` - 1 values besides zero, evenly spaced at first."""
    kept = Sorted(weight[mask > 0].numpy())
    values = lloyd(kept, start(kept, min(k - 1, kept.distinct), "linear"))
    return Shared(torch.from_numpy(values.astype(np.float32)), torch.zeros_like(weight, dtype=torch.int64))
