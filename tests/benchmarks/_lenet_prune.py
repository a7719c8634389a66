"""Pruning of a LeNet by global magnitude after a cubic schedule; units and pixels without weights leave at once.

Zhu and Gupta 2017 (schedule), Hinton et al. 2015 (the float network teaches). A weight's size counts less in
units that are small as a whole, so that what stays stands close together: short gaps, few units.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from _lenet import BATCH, CONV, FC, SHIFTS, STILL, Kind, Mnist, batches, forward, rate
from torch import Tensor
from torch.nn import functional

EVERY = 40
"""Steps between two tightenings of the masks."""
MOMENTUM = 0.9
START = 0.3
"""Part of the final amount that is pruned at the first step."""


@dataclass(frozen=True)
class Recipe:
    """All settings of one model, chosen on the samples held back."""

    float_epochs: int
    shift: bool  # pictures moved by a pixel, for the float network as for the compressed one
    keep: float  # share of all weights
    epochs: int
    learning_rate: float
    ramp: float  # share of the steps until all is pruned
    focus: float  # exponent of a unit's (and pixel's) size in the score of its weights
    values: tuple[int, ...]  # shared ones of each layer, zero included
    share_epochs: int
    own: float = 0.3  # weight of the labels in the loss; the rest is the teacher's
    temperature: float = 4.0
    teacher_epochs: int = 0  # of a float lenet-5 that teaches in the float network's place; 0 = none


class Lean:
    """Weights, biases and masks of a network that gets smaller; `units`, `pixels`: which of the original are left."""

    def __init__(self, kind: Kind, weights: list[Tensor], biases: list[Tensor]) -> None:
        self.kind = kind
        self.weights, self.biases = [w.clone() for w in weights], [b.clone() for b in biases]
        self.masks = [torch.ones_like(w) for w in weights]
        self.velocity = [torch.zeros_like(w) for w in weights], [torch.zeros_like(b) for b in biases]
        self.units = [torch.arange(shape[0]) for shape in kind.shapes]
        self.pixels = torch.arange(784)
        self.total = sum(w.numel() for w in weights)

    def run(self, weights: list[Tensor], biases: list[Tensor], x: Tensor) -> Tensor:
        """Logits of pictures (n, 28, 28) with these tensors in place of the network's own."""
        if self.kind is FC:
            x = x.flatten(1)
            x = x if len(self.pixels) == 784 else x[:, self.pixels]
        return forward(self.kind, weights, biases, x)

    def tighten(self, keep: float, focus: float) -> None:
        """Keep this share of all original weights, the largest by score over all layers."""
        pairs = zip(self.weights, self.masks, strict=True)
        scores = [_scores(self.kind, k, weight * mask, focus) for k, (weight, mask) in enumerate(pairs)]
        together = torch.cat([score.flatten() for score in scores])
        wanted = int(keep * self.total)
        if wanted < int((together > 0).sum()):
            border = together.kthvalue(len(together) - wanted).values
            for mask, score in zip(self.masks, scores, strict=True):
                mask.mul_(score > border)
        for weight, mask, velocity in zip(self.weights, self.masks, self.velocity[0], strict=True):
            weight.mul_(mask)
            velocity.mul_(mask)

    def step(self, gradients: tuple[Tensor, ...], learning_rate: float, hold: float) -> None:
        """SGD with Nesterov momentum; `hold` pulls the biases of hidden units towards zero, 1 sets them to it."""
        n = len(self.weights)
        for k, weight in enumerate(self.weights):
            _descend(weight, gradients[k] * self.masks[k], self.velocity[0][k], learning_rate)
        for k, bias in enumerate(self.biases):
            hidden = k < n - 1
            _descend(bias, gradients[n + k] + hold * hidden * bias, self.velocity[1][k], learning_rate)
            if hidden and hold == 1:
                bias.zero_()

    def shrink(self) -> None:
        """Drop units that nothing enters or leaves, and pixels that nothing reads; constants join the biases behind."""
        changed = True
        while changed:
            changed = self.kind is FC and self._drop_pixels()
            for k in range(len(self.weights) - 1):
                changed = self._drop_units(k) or changed

    def _drop_units(self, k: int) -> bool:
        entered = self.masks[k].flatten(1).any(1)
        spread = self.kind.spread[k]
        left = _by_input(self.masks[k + 1], spread).flatten(2).any(2).any(0)
        stay = (entered & left).nonzero().flatten()
        if len(stay) == len(entered):
            return False
        constant = functional.relu(self.biases[k]) * ~entered
        self.biases[k + 1] = self.biases[k + 1] + _by_input(self.weights[k + 1], spread).flatten(2).sum(2) @ constant
        self.biases[k], self.velocity[1][k] = self.biases[k][stay], self.velocity[1][k][stay]
        self.units[k] = self.units[k][stay]
        self._select(k, 0, stay)
        self._select(k + 1, 1, (stay[:, None] * spread + torch.arange(spread)).flatten())
        return True

    def _drop_pixels(self) -> bool:
        stay = self.masks[0].any(0).nonzero().flatten()
        if len(stay) == len(self.pixels):
            return False
        self.pixels = self.pixels[stay]
        self._select(0, 1, stay)
        return True

    def _select(self, k: int, axis: int, places: Tensor) -> None:
        for tensors in (self.weights, self.masks, self.velocity[0]):
            tensors[k] = tensors[k].index_select(axis, places)


def _scores(kind: Kind, k: int, weight: Tensor, focus: float) -> Tensor:
    """Magnitudes, smaller in hidden units (and for lenet-300-100 pixels) that are small as a whole."""
    score = weight.abs()
    if not focus or k == len(kind.shapes) - 1:
        return score
    units = score.flatten(1).norm(dim=1)
    score = score * (units / units.max()).pow(focus).view(-1, *[1] * (score.ndim - 1))
    if kind is FC and k == 0:
        pixels = score.norm(dim=0)
        score = score * (pixels / pixels.max()).pow(focus)
    return score


def _by_input(weight: Tensor, spread: int) -> Tensor:
    """(out, in * spread, ...) -> (out, in, spread, ...)."""
    return weight.unflatten(1, (-1, spread))


def _descend(tensor: Tensor, gradient: Tensor, velocity: Tensor, learning_rate: float) -> None:
    velocity.mul_(MOMENTUM).add_(gradient)
    tensor.sub_(learning_rate * (gradient + MOMENTUM * velocity))


class Teacher:
    """Logits of a float network on every training picture at every place, computed once."""

    def __init__(self, kind: Kind, weights: list[Tensor], biases: list[Tensor], data: Mnist, recipe: Recipe) -> None:
        self._data, self._recipe = data, recipe
        self._logits: dict[int, Tensor] = {}
        places = data.trained.split(1000)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for shift in range(len(SHIFTS)) if recipe.shift else (STILL,):
                rows = [forward(kind, weights, biases, data.batch(part, shift)) for part in places]
                self._logits[shift] = torch.cat(rows).float()

    def batch(self, places: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, labels and the teacher's logits of a batch."""
        data = self._data
        x, parts = data.shifted(places, generator) if self._recipe.shift else (data.batch(places), [(STILL, places)])
        labels = torch.cat([data.labels[part] for _, part in parts])
        return x, labels, torch.cat([self._logits[shift][part] for shift, part in parts])

    def loss(self, logits: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
        """Cross-entropy, and T^2 KL against the teacher."""
        own, temperature = self._recipe.own, self._recipe.temperature
        ours, theirs = (functional.log_softmax(z / temperature, 1) for z in (logits, taught))
        distance = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2
        return own * functional.cross_entropy(logits, labels) + (1 - own) * distance


def prune(lean: Lean, data: Mnist, teacher: Teacher, recipe: Recipe, seed: int) -> None:
    """Train and prune in place until `recipe.keep` of the weights are left and hidden biases are zero."""
    generator = torch.Generator().manual_seed(1000 + seed)
    last = int(recipe.ramp * recipe.epochs * (len(data.trained) // BATCH))
    for step, (share, places) in enumerate(batches(data.trained, recipe.epochs, generator)):
        if step <= last and (step % EVERY == 0 or step == last):
            lean.tighten(1 - (1 - recipe.keep) * cubic(step / last), recipe.focus)
            if step > last * 0.3:
                lean.shrink()
        x, labels, taught = teacher.batch(places, generator)
        tensors = [t.requires_grad_() for t in (*lean.weights, *lean.biases)]
        with torch.autocast("cpu", torch.bfloat16, enabled=lean.kind is CONV):
            logits = lean.run(lean.weights, lean.biases, x).float()
        loss = teacher.loss(logits, labels, taught)
        gradients = torch.autograd.grad(loss, tensors)
        with torch.no_grad():
            for tensor in tensors:
                tensor.requires_grad_(False)
            lean.step(gradients, recipe.learning_rate * rate(share, 0.05), 1 if step >= last else 0.02)


def cubic(share: float) -> float:
    """Part of the final amount at a share of the ramp."""
    return 1 + (START - 1) * (1 - share) ** 3


def accuracy(lean: Lean, weights: list[Tensor], biases: list[Tensor], data: Mnist, places: Tensor) -> float:
    """Top-1 of a network on pictures of the training file that were held back."""
    right = 0
    with torch.no_grad():
        for part in places.split(1000):
            right += int((lean.run(weights, biases, data.batch(part)).argmax(1) == data.labels[part]).sum())
    return right / len(places)
