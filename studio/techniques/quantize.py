"""Integers on a uniform grid (affine quantization; Jacob et al. 2018, Krishnamoorthi 2018), weights symmetric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from studio.core.encoding import Encoding, Grid, Sparse, along, levels
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import EncodeContext, Stage
from studio.techniques._weight_scales import weight_scales


class QuantizeSettings(Settings):
    """What a person can set."""

    weight_bits: int = setting(
        8, "Bits of each stored weight; 8 keeps almost every network's accuracy, below 4 it often falls.",
        title="Weight bits", low=2, high=8, step=1, unit="bit", strength="down",
    )  # fmt: skip
    per_channel: bool = setting(
        True, "One scale for each output channel instead of one for the whole layer.", title="Per channel"
    )
    calibration: Literal["min_max", "percentile", "mse"] = setting(
        "mse",
        "Range of the weights: up to the largest, to the 99.9th percentile, or where the output's error is smallest.",
        title="Weight range",
    )


class Quantize:
    """`q = clip(rint(w / s))` in float32, ties to even, zero point 0, |q| <= 2^(bits-1) - 1."""

    name: ClassVar[str] = "quantize"
    title: ClassVar[str] = "Quantize"
    help: ClassVar[str] = "Store weights as integers of 2 to 8 bits and compute in int8."
    letters: ClassVar[str] = "Q"
    stage: ClassVar[Stage] = Stage.GRID
    settings: ClassVar[type[Settings]] = QuantizeSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer without weights."""
        return None if layer.weighted else f"{layer.name} has no weights to quantize."

    def chip(self, settings: Any) -> str:
        """`Q4`."""
        return f"Q{settings.weight_bits}"

    def scope(self, settings: Any) -> str:
        """Every layer has its own scales."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Every setting always counts."""
        return {}

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Dense -> Grid; Sparse over Dense -> Sparse over Grid, zeros staying zero.

        Scales lie along the output channel: conv weight (out, in, kh, kw) -> (out,); transposed
        (in, out, kh, kw) -> (out,); per-tensor -> (1,). Those of pruned layers see kept weights only.
        """
        weight = encoding.decode()
        kept = encoding.mask if isinstance(encoding, Sparse) else None
        channels = context.layer.channel_axis
        rows = _by_channel(weight, channels)
        shown = None if kept is None else _by_channel(kept, channels)
        scale = weight_scales(rows, shown, settings.weight_bits, settings.calibration, not settings.per_channel)
        axis = channels if settings.per_channel else None
        grid = Grid(to_integers(weight, scale, axis, settings.weight_bits), scale, axis, settings.weight_bits)
        return grid if kept is None else Sparse(kept, grid)


def _by_channel(values: np.ndarray, axis: int) -> np.ndarray:
    """(channels, inputs, kernel places) of a weight whose output channels lie along `axis`."""
    moved = np.moveaxis(values, axis, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], moved.shape[1], -1)


def to_integers(weight: np.ndarray, scale: np.ndarray, axis: int | None, bits: int) -> np.ndarray:
    """`clip(rint(weight / scale))` as int8: float32 division, nearest, ties to even."""
    most = levels(bits)
    whole = np.rint(weight / along(scale, weight.ndim, axis))
    integers: np.ndarray = np.clip(whole, -most, most).astype(np.int8)
    return integers


TECHNIQUE = Quantize()
