"""Sum, difference and product of two int8 tensors: the form of each runtime, and when all agree.

XNNPACK adds in fixed point with 20-bit multipliers, ONNX Runtime in float32 in an order of operations
that depends on the processor. So lowering tries output scales `s * (1 + t * 2^-16)` until all forms give
the same result for all 65,536 pairs of inputs. Every form here was compared with the real runtimes on
all pairs (tests/lowering/test_pairs.py); those of other processors follow their sources.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from studio.lowering.program import TensorFormat

Formats = tuple[TensorFormat, TensorFormat, TensorFormat]
"""First input, second input, output."""
Form = Callable[[np.ndarray, np.ndarray, Formats], np.ndarray]
"""`form(a, b, formats)`: int32 arrays that broadcast -> int32 array clamped to [-128, 127]."""
STEPS = 64
"""Output scales that are tried."""
STEP = 2.0**-16
_ALL = np.arange(-128, 128, dtype=np.int32)
_SUM_RATIOS = 2.0**-10, 2.0**8
_PRODUCT_RATIOS = 2.0**-16, 2.0**8


def scaled(before: TensorFormat, t: int) -> TensorFormat:
    """Return the format with its scale enlarged by `t` steps of 2^-16."""
    return TensorFormat(float(np.float32(before.scale * (1 + t * STEP))), before.zero_point, before.bits)


@lru_cache(maxsize=4096)
def agrees(kind: str, formats: Formats) -> bool:
    """True where every form of add, sub or mul gives the same integer for each of the 65,536 pairs."""
    if not _in_range(kind, formats):
        return False
    a, b = _ALL[:, None], _ALL[None, :]
    expected = PREVIEW[kind](a, b, formats)
    return all(np.array_equal(expected, form(a, b, formats)) for form in OTHERS[kind])


def ratios(formats: Formats) -> tuple[np.float32, np.float32]:
    """Scale of each input over the output's, float32."""
    first, second, result = formats
    return np.float32(first.scale) / np.float32(result.scale), np.float32(second.scale) / np.float32(result.scale)


def product_ratio(formats: Formats) -> np.float32:
    """Multiplier of a product: `(s_a * s_b) / s_out`, operation by operation in float32."""
    first, second, result = formats
    return (np.float32(first.scale) * np.float32(second.scale)) / np.float32(result.scale)


def add_in_order(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """Float32, operation by operation: `rint((a-z_a)*r_a + (b-z_b)*r_b) + z`; what the preview executes."""
    first, second, result = formats
    ra, rb = ratios(formats)
    total = (a - first.zero_point).astype(np.float32) * ra + (b - second.zero_point).astype(np.float32) * rb
    return _clamped(np.rint(total) + result.zero_point)


def add_xnnpack(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """LiteRT: `(((1 << (k-1)) + (a-z_a)*m_a + (b-z_b)*m_b) >> k) + z`, k = 20 - floor(log2(max r))."""
    return _fixed_point(a, b, formats, 20)


def add_onnx(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on x86 with fused multiply-add: uint8 zero points folded into one float32 addend."""
    ra, rb = ratios(formats)
    za, zb, z = (np.float32(f.zero_point + 128) for f in formats)
    fixed = z - _fused(za, ra, rb * zb)
    return _clamped(np.rint(_fused(_unsigned(a), ra, _fused(_unsigned(b), rb, fixed))) - 128)


def add_onnx_plain(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on x86 without fused multiply-add (equal on all pairs under an emulated Nehalem)."""
    ra, rb = ratios(formats)
    za, zb, z = (np.float32(f.zero_point + 128) for f in formats)
    fixed = z - (ra * za + rb * zb)
    return _clamped(np.rint(_unsigned(a) * ra + (_unsigned(b) * rb + fixed)) - 128)


def add_onnx_arm(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on ARM: fixed point with 22-bit multipliers."""
    return _fixed_point(a, b, formats, 21)


def sub_onnx(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime: dequantize, subtract, quantize in float32; what the preview executes."""
    first, second, result = formats
    fa = (a - first.zero_point).astype(np.float32) * np.float32(first.scale)
    fb = (b - second.zero_point).astype(np.float32) * np.float32(second.scale)
    return _clamped(np.rint((fa - fb) / np.float32(result.scale)) + result.zero_point)


def sub_xnnpack(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """LiteRT: as its sum, the second multiplier negated."""
    return _fixed_point(a, b, formats, 20, sign=-1)


def mul_xnnpack(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """LiteRT: `rint((a-z_a)*(b-z_b) * m) + z` in float32; what the preview executes."""
    return _clamped(np.rint(_product(a, b, formats)) + formats[2].zero_point)


def mul_onnx(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime: `rint((a-z_a)*(b-z_b) * m + z)` with the zero point of uint8."""
    return _clamped(np.rint(_product(a, b, formats) + np.float32(formats[2].zero_point + 128)) - 128)


PREVIEW: dict[str, Form] = {"add": add_in_order, "sub": sub_onnx, "mul": mul_xnnpack}
"""Form that the preview executes where all agree."""
OTHERS: dict[str, tuple[Form, ...]] = {
    "add": (add_xnnpack, add_onnx, add_onnx_plain, add_onnx_arm),
    "sub": (sub_xnnpack,),
    "mul": (mul_onnx,),
}
TARGETS: dict[str, dict[str | None, Form]] = {
    "add": {None: add_xnnpack, "onnx": add_onnx, "tflite": add_xnnpack},
    "sub": {None: sub_xnnpack, "onnx": sub_onnx, "tflite": sub_xnnpack},
    "mul": {None: mul_xnnpack, "onnx": mul_onnx, "tflite": mul_xnnpack},
}
"""Form of each target where they could not be reconciled; None = ours."""


def _in_range(kind: str, formats: Formats) -> bool:
    """True where XNNPACK takes the scales; else LiteRT falls back to another arithmetic."""
    if kind == "mul":
        return _PRODUCT_RATIOS[0] <= float(product_ratio(formats)) < _PRODUCT_RATIOS[1]
    return all(_SUM_RATIOS[0] <= float(ratio) < _SUM_RATIOS[1] for ratio in ratios(formats))


def multipliers(formats: Formats, bits: int = 20) -> tuple[int, int, int]:
    """Multipliers of both inputs and the shift k of a fixed-point form: `rint(r * 2^k)`."""
    ra, rb = ratios(formats)
    k = bits - int(np.floor(np.log2(float(max(ra, rb)))))
    return int(np.rint(float(ra) * 2.0**k)), int(np.rint(float(rb) * 2.0**k)), k


def _fixed_point(a: np.ndarray, b: np.ndarray, formats: Formats, bits: int, sign: int = 1) -> np.ndarray:
    first, second, result = formats
    ma, mb, k = multipliers(formats, bits)
    left = (a - first.zero_point).astype(np.int64) * ma + (1 << (k - 1))
    total = left + (b - second.zero_point).astype(np.int64) * (sign * mb)
    return _clamped((total >> k) + result.zero_point)


def _product(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    first, second, _ = formats
    exact = ((a - first.zero_point) * (b - second.zero_point)).astype(np.float32)
    return np.asarray(exact * product_ratio(formats))


def _unsigned(values: np.ndarray) -> np.ndarray:
    return (values + 128).astype(np.float32)


def _fused(x: np.ndarray | np.float32, y: np.float32, z: np.ndarray | np.float32) -> np.ndarray:
    """`x * y + z` rounded once to float32: the product is exact in float64."""
    return np.asarray(np.asarray(x, np.float64) * float(y) + np.asarray(z, np.float64)).astype(np.float32)


def _clamped(values: np.ndarray) -> np.ndarray:
    clamped: np.ndarray = np.clip(values, -128, 127).astype(np.int32)
    return clamped
