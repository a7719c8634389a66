"""Integers on a grid of levels (affine quantization; Jacob et al. 2018, Krishnamoorthi 2018), weights symmetric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from studio.core.encoding import Encoding, Grid, Sparse
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import EncodeContext, Stage
from studio.techniques._weight_levels import nearest_level
from studio.techniques._weight_scales import grouped_scales, weight_scales

MOST_POWER_BITS = 4
"""Powers of two of more bits would only add levels too small to matter."""


class QuantizeSettings(Settings):
    """What a person can set."""

    weight_bits: int = setting(
        8, "Bits of each stored weight: 8 keep almost every network's accuracy, 4 with learned rounding, 2 are ternary "
        "(-s, 0, s), 1 is binary (-s, s).",
        title="Weight bits", low=1, high=8, step=1, unit="bit", strength="down",
    )  # fmt: skip
    rounding: Literal["nearest", "learned"] = setting(
        "nearest",
        "To the nearest level, or learned layer by layer from calibration samples (AdaRound: takes a minute or two).",
        title="Rounding",
    )
    bias_correction: bool = setting(
        False,
        "Move each bias by the mean error that rounding makes on the calibration samples.",
        title="Correct biases",
    )
    per_channel: bool = setting(
        True, "One scale for each output channel instead of one for the whole layer.", title="Per channel"
    )
    calibration: Literal["min_max", "percentile", "mse"] = setting(
        "mse",
        "Range of the weights: up to the largest, to the 99.9th percentile, or where the output's error is smallest.",
        title="Weight range",
    )
    levels: Literal["uniform", "power_of_two"] = setting(
        "uniform",
        "Equal steps, or powers of two, whose products are shifts (at most 4 bits are used).",
        title="Levels",
    )
    step: float = setting(
        1.0,
        "Multiple of the distance between levels that the range gives. Above 1 more weights share a level: for the "
        "same Huffman-coded bytes 4 bits with wide steps err less than 3 bits. Training makes steps narrower again, "
        "unless its rate of scales is 0.",
        title="Step width", low=0.5, high=4, step=0.05, unit="x",
    )  # fmt: skip
    group: Literal[0, 32, 64, 128] = setting(
        0,
        "Inputs that share a scale; 0 = all inputs of an output channel. Such layers compute in float.",
        title="Scale group",
    )


class Quantize:
    """`q` = the level nearest to `w / s` in float32, zero point 0; uniform: ties to even, |q| <= 2^(bits-1) - 1."""

    name: ClassVar[str] = "quantize"
    title: ClassVar[str] = "Quantize"
    help: ClassVar[str] = "Store weights as integers of 1 to 8 bits and compute in int8."
    letters: ClassVar[str] = "Q"
    stage: ClassVar[Stage] = Stage.GRID
    settings: ClassVar[type[Settings]] = QuantizeSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer without weights."""
        return None if layer.weighted else f"{layer.name} has no weights to quantize."

    def chip(self, settings: Any) -> str:
        """`Q4`; `Q4 learned`; with other steps `Q4 x1.5`, however it rounds: a chip is short."""
        if settings.step != 1 and settings.weight_bits > 1:
            return f"Q{settings.weight_bits} x{settings.step:.3g}"
        return f"Q{settings.weight_bits}{' learned' if settings.rounding == 'learned' else ''}"

    def scope(self, settings: Any) -> str:
        """Every layer has its own scales."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """What changes nothing beside one bit, groups of inputs or learned rounding."""
        found = {}
        if settings.weight_bits == 1:
            found["calibration"] = "The scale of binary weights is their mean size."
            found["levels"] = "Binary weights have two levels."
            found["step"] = "Binary weights have no steps."
        if settings.group:
            found["per_channel"] = "Groups of inputs have scales of their own in every channel."
        if settings.rounding == "learned":
            found["bias_correction"] = "Learned rounding tunes the biases along."
        return found

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Dense -> Grid; Sparse over Dense -> Sparse over Grid, zeros staying zero; rounded to the nearest level.

        Scales lie along the output channel: conv weight (out, in, kh, kw) -> (out,); transposed
        (in, out, kh, kw) -> (out,); per-tensor -> (1,); groups of 64 inputs -> (out, in / 64). Those of
        pruned layers see kept weights only. Learned rounding and tuned biases are the engine's work.
        """
        weight = encoding.decode()
        kept = encoding.mask if isinstance(encoding, Sparse) else None
        grid = _grid(weight, kept, settings, context.layer.channel_axis)
        return grid if kept is None else Sparse(kept, grid)


def _grid(weight: np.ndarray, kept: np.ndarray | None, settings: Any, channels: int) -> Grid:
    rows = _by_channel(weight, channels)
    shown = None if kept is None else _by_channel(kept, channels)
    power = settings.levels == "power_of_two" and settings.weight_bits > 1
    bits = min(settings.weight_bits, MOST_POWER_BITS) if power else settings.weight_bits
    group = settings.group if 0 < settings.group < rows.shape[1] else None
    if group is None:
        whole = not (settings.per_channel or settings.group)
        scale = weight_scales(rows, shown, bits, settings.calibration, whole, power)
        axis = None if whole else channels
    else:
        scale, axis = grouped_scales(rows, shown, bits, settings.calibration, group, power), channels
    if bits > 1:
        scale = scale * np.float32(settings.step)
    steps = Grid(np.ones(weight.shape, np.int8), scale, axis, bits, power, group).decode()
    q = nearest_level(weight / steps, bits, power).astype(np.int8)
    return Grid(q, scale, axis, bits, power, group)


def _by_channel(values: np.ndarray, axis: int) -> np.ndarray:
    """(channels, inputs, kernel places) of a weight whose output channels lie along `axis`."""
    moved = np.moveaxis(values, axis, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], moved.shape[1], -1)


TECHNIQUE = Quantize()
