"""Single weights set to zero: by size of a score, freely or in a pattern (Han et al. 2015; Mishra et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from studio.core import registry
from studio.core.encoding import Encoding, Sparse
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.sparsity import GROUP, Form, arrange, restore
from studio.core.technique import EncodeContext, Stage
from studio.techniques._threshold import keep_globally, keep_largest

N_OF_FOUR = {"2:4": 2, "1:4": 1}
"""Patterns that fix the amount: so many of each four are kept."""

CRITERIA = tuple(n for n in registry.names("criteria") if registry.find("criteria", n).scores_weights)


class PruneWeightsSettings(Settings):
    """What a person can set."""

    amount: float = setting(
        0.5, "Share of the weights that become zero; the pattern 2:4 always prunes half, 1:4 three quarters.",
        title="Amount", low=0, high=0.99, step=0.01, strength="up",
    )  # fmt: skip
    scope: Literal["layer", "global"] = setting(
        "layer", "The amount in each layer, or by one threshold over all layers that share this step.", title="Scope"
    )
    counts: Literal["weights", "energy"] = setting(
        "weights",
        "What the amount is a share of: of the weights, or of the sum of their squares, so that redundant layers "
        "lose more weights; with one threshold a layer's share of it grows with the layer.",
        title="Amount of",
    )  # fmt: skip
    pattern: Literal["free", "2:4", "1:4", "1x4"] = setting(
        "free",
        "Any weights; 2 or 1 kept of each four neighbouring input channels; or such fours kept or pruned as a whole.",
        title="Pattern",
    )
    criterion: str = setting("magnitude", "Score by which the least important weights go first.", choices=CRITERIA)


class PruneWeights:
    """Zeros exactly `floor(amount * n)` of n weights; of equal scores the first in the weight goes first.

    Blocks 1x4 are pruned as a whole by their mean score, `floor(amount * n) // 4` of them. Of energy, as many
    of the smallest weights go as have together at most that share of the layer's squares; over several layers
    it is amount * (the layer's weights / all weights): small layers, where each weight counts, keep nearly all.
    """

    name: ClassVar[str] = "prune_weights"
    title: ClassVar[str] = "Sparsity"
    help: ClassVar[str] = "Set the least important weights to zero and store only the others."
    letters: ClassVar[str] = "P"
    stage: ClassVar[Stage] = Stage.SPARSE
    settings: ClassVar[type[Settings]] = PruneWeightsSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer without weights, and a pattern over input channels that do not come in fours."""
        if layer.weight_shape is None or not layer.weighted:
            return f"{layer.name} has no weights to prune."
        channels = _inputs_of_a_group(layer)
        if settings.pattern != "free" and channels % GROUP:
            one = "one input channel" if channels == 1 else f"{channels} input channels"
            each = "each filter sees" if layer.groups > 1 else "it has"
            return f"Pattern {settings.pattern} needs input channels in fours; {each} {one}."
        return registry.find("criteria", settings.criterion).refuses(layer)  # type: ignore[no-any-return]

    def chip(self, settings: Any) -> str:
        """`P60 %`, of energy `P5 % E`, with a fixed pattern `P2:4`."""
        if settings.pattern in N_OF_FOUR:
            return f"P{settings.pattern}"
        return f"P{100 * settings.amount:.0f} %" + (" E" if _of_energy(settings) else "")

    def scope(self, settings: Any) -> str:
        """Patterns are decided layer by layer."""
        return settings.scope if settings.pattern == "free" else "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """With a pattern the layers are independent; N:M fixes the amount too."""
        reasons = {}
        if settings.pattern in N_OF_FOUR:
            share = 1 - N_OF_FOUR[settings.pattern] / GROUP
            reasons["amount"] = f"Pattern {settings.pattern} always prunes {100 * share:.0f} %."
        if settings.pattern != "free":
            reasons["scope"] = f"Pattern {settings.pattern} is decided layer by layer."
            reasons["counts"] = f"Pattern {settings.pattern} counts weights."
        return reasons

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Return Sparse over the encoding as it came; nothing to prune gives the encoding itself."""
        weight = encoding.decode()
        everywhere = self.scope(settings) == "global"
        peers = context.peers if context.layer.name in context.peers else {context.layer.name: weight}
        if _of_energy(settings):
            share = weight.size / sum(w.size for w in peers.values()) if everywhere else 1.0
            mask = keep_largest(_scores(settings.criterion, weight), within_energy(weight, settings.amount * share))
        elif everywhere:
            mask = _global_mask(settings, context.layer.name, peers)
        else:
            mask = _layer_mask(settings, context.layer, _scores(settings.criterion, weight))
        return encoding if mask.all() else Sparse(mask, encoding)


def pruned_count(amount: float, weights: int) -> int:
    """`floor(amount * weights)` of the decimal number that was typed: 0.29 of 100 is 29, not 28."""
    return math.floor(Fraction(repr(amount)) * weights)


def within_energy(weight: np.ndarray, share: float) -> int:
    """How many of the smallest weights have together at most `share` of the sum of all squares."""
    sums = np.cumsum(np.square(np.sort(np.abs(weight), axis=None).astype(np.float64)))
    return int(np.searchsorted(sums, share * sums[-1], "right")) if len(sums) and sums[-1] > 0 else 0


def _of_energy(settings: Any) -> bool:
    return bool(settings.counts == "energy" and settings.pattern == "free")


def _scores(criterion: str, weight: np.ndarray) -> np.ndarray:
    scores: np.ndarray = registry.find("criteria", criterion).weights(weight)
    return scores


def _global_mask(settings: Any, name: str, peers: Mapping[str, np.ndarray]) -> np.ndarray:
    pruned = pruned_count(settings.amount, sum(w.size for w in peers.values()))
    return keep_globally(name, peers, pruned, settings.criterion, lambda w: _scores(settings.criterion, w))


def _layer_mask(settings: Any, layer: Layer, scores: np.ndarray) -> np.ndarray:
    """Bool of the weight's shape, True = kept."""
    pruned = pruned_count(settings.amount, scores.size)
    if settings.pattern == "free":
        return keep_largest(scores, pruned)
    fours = Form(0, _input_axis(layer))
    groups = arrange(scores, fours)
    if settings.pattern in N_OF_FOUR:
        kept = np.ones(groups.shape, np.bool_)
        first = np.argsort(groups, axis=1, kind="stable")[:, : GROUP - N_OF_FOUR[settings.pattern]]
        np.put_along_axis(kept, first, False, axis=1)
    else:
        blocks = keep_largest(groups.mean(1), pruned // GROUP)
        kept = np.repeat(blocks, GROUP).reshape(groups.shape)
    return restore(kept, scores.shape, fours)


def _input_axis(layer: Layer) -> int:
    return 0 if layer.kind == "conv_transpose" else 1


def _inputs_of_a_group(layer: Layer) -> int:
    assert layer.weight_shape is not None
    inputs = layer.weight_shape[_input_axis(layer)]
    return inputs // layer.groups if layer.kind == "conv_transpose" else inputs


TECHNIQUE = PruneWeights()
