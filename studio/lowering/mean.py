"""Mean over all places of a channel, n values each: the form of each runtime.

ONNX Runtime: `rint(float32(sum of (q - z_in)) * m) + z_out`, m = s_in / (s_out * n); ours is the same.
XNNPACK: `rint(float32(sum of q) * m + (z_out - (z_in * n) * m))`, m = (s_in / s_out) * (1 / n), all in
float32. They part where a product is close to a half, so lowering looks for an output scale on which
every possible sum gives the same integer in both.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from studio.lowering.program import TensorFormat


def places(shape: tuple[int, ...]) -> int:
    """Number of values that one mean is taken over: (1, C, h, w) -> h * w."""
    return math.prod(shape[2:])


def multiplier(source: TensorFormat, target: TensorFormat, count: int) -> np.float32:
    """Multiplier of ONNX Runtime's form, float32."""
    return np.float32(source.scale) / (np.float32(target.scale) * np.float32(count))


def onnx(sums: np.ndarray, source: TensorFormat, target: TensorFormat, count: int) -> np.ndarray:
    """Integers for sums of q (int array), as ONNX Runtime and the preview compute them."""
    centred = (sums - source.zero_point * count).astype(np.float32)
    return _clamped(np.rint(centred * multiplier(source, target, count)) + np.float32(target.zero_point))


def xnnpack(sums: np.ndarray, source: TensorFormat, target: TensorFormat, count: int) -> np.ndarray:
    """Integers for sums of q (int array), as LiteRT computes them."""
    scale = (np.float32(source.scale) / np.float32(target.scale)) * (np.float32(1) / np.float32(count))
    addend = np.float32(target.zero_point) - np.float32(source.zero_point * count) * scale
    return _clamped(np.rint(sums.astype(np.float32) * scale + addend))


@lru_cache(maxsize=1024)
def agrees(source: TensorFormat, target: TensorFormat, count: int) -> bool:
    """True where every sum that can occur gives the same integer in both forms."""
    sums = np.arange(-128 * count, 127 * count + 1)
    return np.array_equal(onnx(sums, source, target, count), xnnpack(sums, source, target, count))


def _clamped(values: np.ndarray) -> np.ndarray:
    clamped: np.ndarray = np.clip(values, -128, 127).astype(np.int32)
    return clamped
