"""Sum of two int8 tensors: the form of each runtime, and an output scale on which all agree.

XNNPACK adds in fixed point with 20-bit multipliers; ONNX Runtime in float32, in an order of operations
that depends on the processor. Lowering tries output scales `s * (1 + t * 2^-16)` until all forms give
the same result for all 65,536 pairs of inputs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from studio.lowering.program import TensorFormat

Formats = tuple[TensorFormat, TensorFormat, TensorFormat]
"""First input, second input, output."""
STEPS = 64
"""Output scales that are tried."""
STEP = 2.0**-16
SMALLEST_RATIO, LARGEST_RATIO = 2.0**-10, 2.0**8
"""Range of input scale over output scale in which XNNPACK adds."""
_ALL = np.arange(-128, 128, dtype=np.int32)


def scaled(format: TensorFormat, t: int) -> TensorFormat:
    """Return the format with its scale enlarged by `t` steps of 2^-16."""
    return TensorFormat(float(np.float32(format.scale * (1 + t * STEP))), format.zero_point, format.bits)


@lru_cache(maxsize=4096)
def agrees(formats: Formats) -> bool:
    """True where every form gives the same integer for each of the 65,536 pairs."""
    if not all(SMALLEST_RATIO <= float(r) < LARGEST_RATIO for r in ratios(formats)):
        return False
    a, b = _ALL[:, None], _ALL[None, :]
    expected = in_order(a, b, formats)
    return all(np.array_equal(expected, form(a, b, formats)) for form in (xnnpack, onnx_x86, onnx_plain, onnx_arm))


def ratios(formats: Formats) -> tuple[np.float32, np.float32]:
    """Scale of each input over the output's, float32."""
    first, second, result = formats
    return np.float32(first.scale) / np.float32(result.scale), np.float32(second.scale) / np.float32(result.scale)


def multipliers(formats: Formats, bits: int = 20) -> tuple[int, int, int]:
    """Multipliers of both inputs and the shift k of a fixed-point form: `rint(r * 2^k)`."""
    ra, rb = ratios(formats)
    k = bits - int(np.floor(np.log2(float(max(ra, rb)))))
    return int(np.rint(float(ra) * 2.0**k)), int(np.rint(float(rb) * 2.0**k)), k


def xnnpack(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """LiteRT's form: `(((1 << (k-1)) + (a-z_a)*m_a + (b-z_b)*m_b) >> k) + z`, k = 20 - floor(log2(max r)).

    a, b: int arrays that broadcast; returns int32 clamped to [-128, 127].
    """
    return _fixed_point(a, b, formats, 20)


def in_order(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """Float32, operation by operation: `rint((a-z_a)*r_a + (b-z_b)*r_b) + z`; the form that preview executes."""
    first, second, result = formats
    ra, rb = ratios(formats)
    total = (a - first.zero_point).astype(np.float32) * ra + (b - second.zero_point).astype(np.float32) * rb
    return _clamped(np.rint(total).astype(np.int32) + result.zero_point)


def onnx_x86(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on x86 with fused multiply-add: uint8 zero points folded into one float32 addend."""
    ra, rb, (za, zb, z) = _uint8_parts(formats)
    fixed = z - _fused(ra, za, rb * zb)
    return _clamped(np.rint(_fused(_unsigned(a), ra, _fused(_unsigned(b), rb, fixed))).astype(np.int32) - 128)


def onnx_plain(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on x86 without fused multiply-add."""
    ra, rb, (za, zb, z) = _uint8_parts(formats)
    fixed = z - (ra * za + rb * zb)
    return _clamped(np.rint(_unsigned(a) * ra + (_unsigned(b) * rb + fixed)).astype(np.int32) - 128)


def onnx_arm(a: np.ndarray, b: np.ndarray, formats: Formats) -> np.ndarray:
    """ONNX Runtime on ARM: fixed point with 22-bit multipliers."""
    return _fixed_point(a, b, formats, 21)


def _fixed_point(a: np.ndarray, b: np.ndarray, formats: Formats, bits: int) -> np.ndarray:
    first, second, result = formats
    ma, mb, k = multipliers(formats, bits)
    total = (
        (1 << (k - 1)) + (a - first.zero_point).astype(np.int64) * ma + (b - second.zero_point).astype(np.int64) * mb
    )
    return _clamped((total >> k) + result.zero_point)


def _uint8_parts(formats: Formats) -> tuple[np.float32, np.float32, list[np.float32]]:
    ra, rb = ratios(formats)
    return ra, rb, [np.float32(f.zero_point + 128) for f in formats]


def _unsigned(values: np.ndarray) -> np.ndarray:
    return (values + 128).astype(np.float32)


def _fused(x: np.ndarray | np.float32, y: np.float32, z: np.ndarray | np.float32) -> np.ndarray:
    """`x * y + z` rounded once to float32: the product is exact in float64."""
    return np.asarray(np.asarray(x, np.float64) * float(y) + np.asarray(z, np.float64)).astype(np.float32)


def _clamped(values: np.ndarray) -> np.ndarray:
    clamped: np.ndarray = np.clip(values, -128, 127).astype(np.int32)
    return clamped
