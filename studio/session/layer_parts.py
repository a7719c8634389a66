"""What single views of a layer need: channels that stay, values it may take, filters as pictures, ranks, kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core import registry
from studio.core.encoding import Codebook, Encoding, Grid, innermost
from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.engine.resolve import is_factor
from studio.techniques._factor import count
from studio.techniques.low_rank import seen_shape

if TYPE_CHECKING:
    from studio.core.graph import Graph, Layer
    from studio.engine.engine import Engine
    from studio.engine.resolve import Skipped
    from studio.techniques._fast_facts import FastFacts
    from studio.techniques._ranks import Spectrum

TILES = 12
"""Output and input channels shown as pictures, the first ones."""
MATRIX = 64
"""Rows and columns shown of a matrix, the first ones."""


def kept_outputs(engine: Engine, plan: Plan, layer: Layer) -> np.ndarray | None:
    """Output channels of the original layer that a plan leaves, bool (channels,); None where its group is not cut."""
    from studio.network.channels import channels_of  # imports torch, which the start page does without
    from studio.network.groups import groups_of

    flags = engine.kept(plan).get(str(layer.group))
    if flags is None:
        return None
    classes = groups_of(engine.network)[str(layer.group)].classes
    made = channels_of(engine.network).made[layer.name]
    kept: np.ndarray = np.isin(made, classes[flags])
    return kept


def cut_groups(layers: Iterable[Layer]) -> tuple[str, ...]:
    """Channel groups of those layers that can be cut, each once, in order."""
    return tuple(dict.fromkeys(str(n.group) for n in layers if n.group is not None and n.uncut is None))


def skipped_on(steps: Sequence[Skipped], layer: Layer, graph: Graph) -> tuple[Skipped, ...]:
    """Those of a plan's skipped steps that concern a layer: its own, its factors' and its channel group's."""

    def concerns(one: Skipped) -> bool:
        if one.layer == layer.name or (is_factor(one.layer, graph) and one.layer.rpartition("/")[0] == layer.name):
            return True
        return one.layer == layer.group and registry.find("techniques", one.technique).stage == Stage.STRUCTURE

    return tuple(filter(concerns, steps))


def value_levels(encoding: Encoding | None, of: Callable[[np.ndarray], Any] = np.max) -> np.ndarray:
    """Weight values that may be stored, sorted: of the grid, or the centroids of all blocks.

    `of` takes one scale from those of all channels, by default the widest.
    Empty for float weights.
    """
    inner = None if encoding is None else innermost(encoding)
    if isinstance(inner, Codebook):
        return np.unique(inner.table)
    if not isinstance(inner, Grid):
        return np.zeros(0)
    if inner.width == 1:
        whole = np.array([-1, 1])
    elif inner.power_of_two:
        sizes = 2 ** np.arange(2 ** (inner.width - 1) - 1)
        whole = np.concatenate([-sizes[::-1], [0], sizes])
    else:
        top = 2 ** (inner.width - 1) - 1
        whole = np.arange(-top, top + 1)
    levels: np.ndarray = whole * float(of(inner.scale))
    return levels


def mosaic(weight: np.ndarray, channel_axis: int = 0) -> np.ndarray:
    """Filters side by side, float32 (rows, columns), NaN between them: one row of tiles an output channel.

    weight (32, 16, 3, 3) -> the first 12 x 12 kernels, (47, 47); a matrix (32, 16) -> itself, at most 64 x 64.
    """
    moved = np.moveaxis(weight, channel_axis, 0)
    kernel = (1,) * max(0, 4 - moved.ndim) + moved.shape[2:]
    moved = moved.reshape(*moved.shape[:2], *kernel)
    if moved.shape[2:] == (1, 1):
        return moved[:MATRIX, :MATRIX, 0, 0].astype(np.float32)
    moved = moved[:TILES, :TILES]
    out, inputs, height, width = moved.shape
    found = np.full((out * (height + 1), inputs * (width + 1)), np.nan, np.float32)
    tiles = found.reshape(out, height + 1, inputs, width + 1)
    tiles[:, :height, :, :width] = moved.transpose(0, 2, 1, 3)
    return found[:-1, :-1]


def keep_of_rank(layer: Layer, spectrum: Spectrum, step: Step, rank: int) -> float:
    """Setting `keep` of low rank that cuts a layer at `rank`, inverse of the technique's own rule.

    For Tucker, whose two ranks follow from one share, the setting that lies in proportion.
    """
    keep: float = step.values.keep  # type: ignore[attr-defined]
    if step.values.rule == "energy":  # type: ignore[attr-defined]
        found = float(spectrum.energy[rank - 1])
    elif spectrum.form == "tucker":
        found = keep * rank / spectrum.rank if spectrum.rank else keep
    else:
        assert layer.weight_shape is not None
        shape = seen_shape(layer.kind, layer.weight_shape)
        found = rank * count(spectrum.form, shape, (1,)) / float(np.prod(shape))
    return min(0.99, max(0.01, found))


def fast_facts(engine: Engine, plan: Plan, layer: Layer) -> FastFacts:
    """Facts of the layer's fast convolution, timed here; of default settings where it has no such step.

    Raises Refused with the reason where the layer cannot take one.
    """
    steps = engine.resolve(plan).steps.get(layer.name, ())
    step = next((s for s in steps if s.stage == Stage.KERNEL), None) or Step("fast_convolution")
    technique = registry.find("techniques", "fast_convolution")
    reason = technique.refuses(layer, step.values)
    if reason is not None:
        raise Refused(reason, where=layer.name)
    weight = engine.base.encoder.dense[layer.name].values
    facts: FastFacts = technique.facts(layer, step.values, weight, layer.input_shapes[0])
    return facts
