"""Weights that share 2^bits values, found by k-means (Deep Compression, Han et al. 2016, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from studio.core.encoding import Codebook, Encoding, Sparse
from studio.core.encoding_codebook import TYPES
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import EncodeContext, Stage
from studio.techniques._kmeans import Sorted, lloyd, nearest, start


class ShareWeightsSettings(Settings):
    """What a person can set."""

    bits: int = setting(
        5, "Bits of an index: 2 to the power of so many shared values; 4 or 5 keep most networks' accuracy.",
        title="Index bits", low=1, high=8, step=1, unit="bit", strength="down",
    )  # fmt: skip
    start: Literal["linear", "quantile", "kmeans++"] = setting(
        "linear",
        "First values: evenly between the smallest and largest weight, evenly among the weights, or drawn far apart.",
        title="Start",
    )
    blocks: int = setting(
        1, "Blocks of output channels that each have values of their own; 1 shares them over the whole layer.",
        title="Blocks", low=1, high=64, step=1,
    )  # fmt: skip
    centroid_bits: Literal[8, 16, 32] = setting(
        8, "Bits of a shared value; 8 computes in int8, 16 and 32 are stored finer and compute in float.",
        title="Value bits",
    )  # fmt: skip


class ShareWeights:
    """K-means over a layer's weights or over each block of its output channels; zeros stay exactly zero."""

    name: ClassVar[str] = "share_weights"
    title: ClassVar[str] = "Weight sharing"
    help: ClassVar[str] = "Let many weights share a few values and store only which one each has."
    letters: ClassVar[str] = "S"
    stage: ClassVar[Stage] = Stage.GRID
    settings: ClassVar[type[Settings]] = ShareWeightsSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer without weights."""
        return None if layer.weighted else f"{layer.name} has no weights to share."

    def chip(self, settings: Any) -> str:
        """`S4`, with blocks `S4x8`."""
        return f"S{settings.bits}" + (f"x{settings.blocks}" if settings.blocks > 1 else "")

    def scope(self, settings: Any) -> str:
        """Every layer has its own values."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Every setting always counts."""
        return {}

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Dense -> Codebook; Sparse over Dense -> Sparse over Codebook.

        Where the layer has zeros, value 0 is zero and the others are found among the rest; only with one
        bit, and a mask that hides all zeros, both values are the rest's. A layer too small for a table to
        pay stays as it came.
        """
        weight = encoding.decode()
        kept = weight != 0
        mask = encoding.mask if isinstance(encoding, Sparse) else None
        hidden = settings.bits == 1 and mask is not None and bool(kept[mask].all())
        book = share(weight, kept, not bool(kept.all()) and not hidden, settings, context.layer.channel_axis)
        found = book if mask is None else Sparse(mask, book)
        return found if found.bits() < encoding.bits() else encoding


def share(weight: np.ndarray, kept: np.ndarray, zero: bool, settings: Any, axis: int) -> Codebook:
    """Codebook of a float32 weight. What is not `kept` gets index 0, whose value is zero where `zero` says so."""
    channels = weight.shape[axis]
    size = 0 if settings.blocks == 1 else max(1, -(-channels // settings.blocks))
    indices = np.zeros(weight.shape, np.uint8)
    tables, scales = [], []
    for first in range(0, channels, size or channels):
        at = (slice(None),) * axis + (slice(first, first + (size or channels)),)
        table, scale = _table(weight[at][kept[at]], zero, settings)
        own = table[int(zero) :]
        if len(own):
            found = np.zeros(kept[at].shape, np.uint8)
            found[kept[at]] = nearest(weight[at][kept[at]], own * np.float64(scale)) + np.uint8(zero)
            indices[at] = found
        tables.append(table)
        scales.append(scale)
    width = max(len(table) for table in tables)
    padded = np.stack([np.pad(table, (0, width - len(table)), "edge") for table in tables])
    return Codebook(
        indices, padded, None if settings.centroid_bits == 32 else np.array(scales, np.float32),
        settings.bits, axis, size,
    )  # fmt: skip


def _table(values: np.ndarray, zero: bool, settings: Any) -> tuple[np.ndarray, np.float32]:
    """Different centroids as they are stored, ascending, and their scale; zero first where it has its own."""
    kind = TYPES[settings.centroid_bits]
    own = np.zeros(int(zero or not len(values)), kind)
    if not len(values):
        return own, np.float32(1)
    data = Sorted(values)
    k = min((1 << settings.bits) - zero, data.distinct)
    centroids = lloyd(data, start(data, k, settings.start))
    scale = np.float32(1)
    if kind != TYPES[32]:
        most = np.iinfo(kind).max  # type: ignore[type-var]
        scale = np.float32(max(np.abs(centroids).max() / most, np.finfo(np.float32).tiny)) if values.any() else scale
        centroids = np.clip(np.rint(centroids / np.float64(scale)), -most, most)
    stored = np.unique(centroids.astype(kind))
    return np.concatenate([own, stored[stored != 0] if zero else stored]), scale


TECHNIQUE = ShareWeights()
