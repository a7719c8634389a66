"""Low rank: a layer as two or three smaller ones (Jaderberg et al. 2014; Kim et al. 2016; Zhang et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.core.graph import Layer, Shape
from studio.core.settings import Settings, setting
from studio.core.technique import Stage
from studio.techniques._factor import count
from studio.techniques._rewrite import RewriteContext

if TYPE_CHECKING:
    import numpy as np

    from studio.network.network import Network
    from studio.techniques._ranks import Spectrum

MOST_INPUTS = 8192
"""Inputs of one filter whose covariance is still held in memory, 512 MiB."""


class LowRankSettings(Settings):
    """What a person can set."""

    keep: float = setting(
        0.5, "Share that is kept, of the layer's weights or of its energy: the rank follows from it.",
        title="Keep", low=0.01, high=0.99, step=0.01, strength="down",
    )  # fmt: skip
    rule: Literal["weights", "energy"] = setting(
        "weights",
        "What the share is of: the layer's weights, or the energy (sum of the squared singular values).",
        title="Share of",
    )
    form: Literal["auto", "channel", "spatial", "tucker"] = setting(
        "auto",
        "How a convolution splits: fewer filters then 1x1; columns then rows; 1x1, fewer filters on fewer channels, "
        "1x1; or the best of these for each layer. Linear and 1x1 layers always split in two.",
    )
    data_aware: bool = setting(
        True,
        "Count the error where calibration samples lie instead of on all weights alike; without samples it is as off.",
        title="Data-aware",
    )


class LowRank:
    """Factors `conv1/1`, `conv1/2` (`/3`) in the layer's place, each an ordinary layer.

    Plain: truncated SVD, HOSVD with HOOI sweeps. Data-aware: SVD of `W C^(1/2)`, C the covariance of
    what the filters see, then least squares. A layer whose factors would hold no fewer weights stays.
    """

    name: ClassVar[str] = "low_rank"
    title: ClassVar[str] = "Low rank"
    help: ClassVar[str] = "Replace a layer by a product of smaller ones."
    letters: ClassVar[str] = "L"
    stage: ClassVar[Stage] = Stage.FACTOR
    settings: ClassVar[type[Settings]] = LowRankSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse what has no sum over channels to split, and where even rank 1 saves nothing."""
        if layer.weight_shape is None or not layer.weighted:
            return f"{layer.name} has no weights to factor."
        if layer.groups > 1:
            kind = "depthwise" if layer.weight_shape[1] == 1 else "grouped"
            return f"{layer.name} is {kind}: its filters see too few channels to share factors."
        shape = seen_shape(layer.kind, layer.weight_shape)
        if layer.kind == "conv_transpose" and settings.form in ("spatial", "tucker"):
            return f"Transposed convolutions take the channel form only; {layer.name} is set to {settings.form}."
        if settings.form == "spatial" and len(shape) == 3 and shape[2] > 1:
            return f"The spatial form needs a kernel with two directions; that of {layer.name} has one."
        if settings.data_aware and math.prod(shape[1:]) > MOST_INPUTS:
            return f"{layer.name} has {math.prod(shape[1:])} inputs, too many for data-aware factors: switch that off."
        least = min(count(form, shape, (1, 1)) for form in forms_of(shape, settings.form))
        if least >= math.prod(shape):
            return f"Factors of rank 1 would hold {least} weights; {layer.name} has {math.prod(shape)} itself."
        return None

    def chip(self, settings: Any) -> str:
        """`L50 %`, by energy `L50 %E`."""
        return f"L{100 * settings.keep:.0f} %" + ("E" if settings.rule == "energy" else "")

    def scope(self, settings: Any) -> str:
        """Every layer has its own factors."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """Every setting always counts."""
        return {}

    def rewrite(self, network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
        """Return the network with each layer of `work` as its factors.

        Raises DataError for NaN in the samples, Refused for NaN in the weights.
        """
        from studio.techniques._low_rank_nodes import rewritten

        return rewritten(network, work, context)

    def sketch(
        self, network: Network, work: Mapping[str, Any], context: RewriteContext
    ) -> tuple[Network, Mapping[str, np.ndarray]] | None:
        """Return a quick form of what `rewrite` would give, no channels cut; None where it needs no sample any more."""
        from studio.techniques._low_rank_nodes import sketched

        found = sketched(network, work, context)
        return None if found is None else (found, {})

    def spectrum(self, network: Network, layer: str, settings: Any, context: RewriteContext) -> Spectrum:
        """Singular values of a layer with kept energy and rank, as `rewrite` cuts them; for one it takes."""
        from studio.techniques._low_rank_nodes import layer_spectrum

        return layer_spectrum(network, layer, settings, context)


def seen_shape(kind: str, weight_shape: Shape) -> Shape:
    """Shape of the weight as a map from what the layer sees of its input: (out, in, *kernel).

    transposed (in, out, kh, kw) -> (out * kh * kw, in): it sees one place at a time.
    """
    return (math.prod(weight_shape[1:]), weight_shape[0]) if kind == "conv_transpose" else weight_shape


def forms_of(shape: Shape, wanted: str) -> tuple[str, ...]:
    """Forms to choose from for a weight (out, in, *kernel); without a kernel there is one."""
    if math.prod(shape[2:]) == 1:
        return ("channel",)
    if wanted != "auto":
        return (wanted,)
    return ("channel", "tucker") if len(shape) == 3 else ("channel", "spatial", "tucker")


TECHNIQUE = LowRank()
