"""Weights that share a few values (Deep Compression, Han et al. 2016, section 3).

Either 2^bits of them, found by k-means, or as many as an error asks for, evenly spaced (Choi et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from studio.core.encoding import Codebook, Encoding, Sparse
from studio.core.encoding_codebook import TYPES
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import EncodeContext, Stage
from studio.techniques._even_values import even_codebook
from studio.techniques._kmeans import Sorted, blocks_along, lloyd, nearest, start


class ShareWeightsSettings(Settings):
    """What a person can set."""

    bits: int = setting(
        5, "Bits of an index: 2 to the power of so many shared values; 4 or 5 keep most networks' accuracy.",
        title="Index bits", low=1, high=8, step=1, unit="bit", strength="down",
    )  # fmt: skip
    limit: Literal["bits", "error"] = setting(
        "bits",
        "What decides how many values a layer gets: the index bits; or the error, so that large layers get few "
        "values and small or irregular ones many, evenly spaced.",
        title="Limit",
    )
    error: float = setting(
        0.05,
        "Share of the sum of squares that all layers with this step may lose together; a layer's part of it grows "
        "with the layer.",
        title="Error", low=0, high=0.5, step=0.01,
    )  # fmt: skip
    rounding: Literal["nearest", "learned"] = setting(
        "nearest",
        "Each weight takes the nearest value; or, from calibration samples, one by one, each making good the errors "
        "of those before (GPTQ: takes seconds to a minute).",
        title="Rounding",
    )
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
    """Shared values of a layer, or of each block of its output channels; zeros stay exactly zero.

    Of an error E over all layers with the same step, a layer may lose E * (its weights / all weights): the
    errors of all layers add up in the output, and the same bits take off more where there are more weights.
    """

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
        """`S4`, with blocks `S4x8`; by error `S8 % E`; with learned rounding `S4 L`."""
        learned = " L" if settings.rounding == "learned" else ""
        if settings.limit == "error":
            return f"S{100 * settings.error:.0f} % E{learned}"
        return f"S{settings.bits}" + (f"x{settings.blocks}" if settings.blocks > 1 else "") + learned

    def scope(self, settings: Any) -> str:
        """Every layer has its own values; an error is shared out among all."""
        return "global" if settings.limit == "error" else "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Bits and start beside an error, the error beside bits."""
        if settings.limit == "bits":
            return {"error": "The index bits decide."}
        return {"bits": "The error decides.", "start": "Evenly spaced values have no start."}

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Dense -> Codebook; Sparse over Dense -> Sparse over Codebook.

        Where the layer has zeros, value 0 is zero and the others are found among the rest; only with one
        bit, and a mask that hides all zeros, both values are the rest's. A layer too small for a table to
        pay stays as it came. Learned rounding is the engine's work.
        """
        weight = encoding.decode()
        mask = encoding.mask if isinstance(encoding, Sparse) else None
        axis = context.layer.channel_axis
        if settings.limit == "error":
            everything = sum(w.size for w in context.peers.values()) or weight.size
            part = settings.error * weight.size / everything
            book = even_codebook(weight, part, axis, settings.blocks, settings.centroid_bits)
        else:
            kept = weight != 0
            hidden = settings.bits == 1 and mask is not None and bool(kept[mask].all())
            book = share(weight, kept, not bool(kept.all()) and not hidden, settings, axis)
        found = book if mask is None else Sparse(mask, book)
        return found if found.bits() < encoding.bits() else encoding


def share(weight: np.ndarray, kept: np.ndarray, zero: bool, settings: Any, axis: int) -> Codebook:
    """Codebook of a float32 weight. What is not `kept` gets index 0, whose value is zero where `zero` says so."""
    size, parts = blocks_along(weight.shape, axis, settings.blocks)
    indices = np.zeros(weight.shape, np.uint8)
    tables, scales = [], []
    for at in parts:
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
