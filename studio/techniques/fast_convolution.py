"""Convolution with fewer multiplications: Winograd (Lavin & Gray 2016) and FFT (Mathieu et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import Stage

if TYPE_CHECKING:
    from studio.techniques._fast_facts import FastFacts

WINOGRAD = ("winograd2", "winograd4")
SMALLEST_FFT = 5
"""Kernels whose longer side is below this have fewer multiplications without FFT."""
CHIPS = {"winograd2": "F2x2", "winograd4": "F4x4", "fft": "FFT", "auto": "F auto"}


class FastConvolutionSettings(Settings):
    """What a person can set."""

    algorithm: Literal["auto", "winograd2", "winograd4", "fft"] = setting(
        "auto",
        "Winograd with tiles of 2x2 outputs (exact in integers) or 4x4 (fewer multiplications, less exact), both for "
        "3x3 kernels; FFT for large kernels; or the one that is measured fastest here, direct convolution included.",
        title="Algorithm",
    )


class FastConvolution:
    """Changes no weight and no result beyond rounding, only the kernel that a target of ours runs.

    ONNX Runtime and LiteRT choose their kernels by themselves: their files stay as they are.
    """

    name: ClassVar[str] = "fast_convolution"
    title: ClassVar[str] = "Fast convolution"
    help: ClassVar[str] = (
        "Compute a convolution with fewer multiplications where that is measured faster; ONNX Runtime and LiteRT "
        "choose their kernels by themselves, so their files stay as they are."
    )
    letters: ClassVar[str] = "F"
    stage: ClassVar[Stage] = Stage.KERNEL
    settings: ClassVar[type[Settings]] = FastConvolutionSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse what is no plain 2D convolution of stride 1, and kernels that the algorithm is not for."""
        if layer.kind != "conv" or layer.weight_shape is None or len(layer.weight_shape) != 4:
            return f"Fast convolution is for convolutions over height and width; {layer.name} is none."
        if layer.groups > 1:
            kind = "depthwise" if layer.weight_shape[1] == 1 else "grouped"
            return f"{layer.name} is {kind}: too few products share a transformed input."
        if set(layer.stride) - {1}:
            return f"Fast convolution needs stride 1; {layer.name} has stride {max(layer.stride)}."
        if set(layer.dilation) - {1}:
            return f"Fast convolution needs neighbouring inputs; {layer.name} has dilation {max(layer.dilation)}."
        return None if algorithms(layer, settings.algorithm) else _wrong_kernel(layer, settings.algorithm)

    def chip(self, settings: Any) -> str:
        """`F2x2`, `F4x4`, `FFT` or `F auto`."""
        return CHIPS[settings.algorithm]

    def scope(self, settings: Any) -> str:
        """Every layer has its own kernel."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """The one setting always counts."""
        return {}

    def facts(
        self, layer: Layer, settings: Any, weight: np.ndarray, input_shape: Sequence[int], *, timed: bool = True
    ) -> FastFacts:
        """Facts of the algorithm chosen; of several, that of the fastest, untimed that of the fewest multiplications.

        weight (out, in, kh, kw) float32, input (1, in, H, W). Ask `faster` whether it beats direct
        convolution here. Takes some tenths of a second when timed. For a layer that is not refused.
        """
        from studio.techniques._fast_facts import facts_of

        pads = layer.pads or (0, 0, 0, 0)
        found = [facts_of(a, weight, input_shape, pads, timed) for a in algorithms(layer, settings.algorithm)]
        return min(found, key=lambda one: one.multiplications if one.fast_ms is None else one.fast_ms)


def algorithms(layer: Layer, wanted: str) -> tuple[str, ...]:
    """Algorithms to choose from for a convolution of stride 1: those wanted that its kernel is for."""
    kernel = () if layer.weight_shape is None else layer.weight_shape[2:]
    fitting = WINOGRAD if kernel == (3, 3) else ("fft",) if max(kernel, default=0) >= SMALLEST_FFT else ()
    return tuple(name for name in fitting if wanted in ("auto", name))


def _wrong_kernel(layer: Layer, wanted: str) -> str:
    size = "x".join(map(str, layer.weight_shape[2:] if layer.weight_shape else ()))
    if wanted in WINOGRAD:
        return f"Winograd is for 3x3 kernels; {layer.name} has {size}."
    if wanted == "fft":
        return f"FFT saves nothing below {SMALLEST_FFT}x{SMALLEST_FFT}; {layer.name} has {size}."
    return f"Winograd is for 3x3 kernels and FFT for {SMALLEST_FFT}x{SMALLEST_FFT} up; {layer.name} has {size}."


TECHNIQUE = FastConvolution()
