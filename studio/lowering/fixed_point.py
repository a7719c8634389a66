"""LiteRT's fixed-point kernels for one int8 tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from studio.lowering.program import Operation, TensorFormat


def requantize(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """XNNPACK's conversion between formats: multiplier with 8 bits after the point."""
    source, target = _formats(operation)
    ratio = np.float32(source.scale) / np.float32(target.scale)
    return _stored(operation, _eight_bits(inputs[0].numpy(), source, target, ratio, ratio))


def leaky_relu(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """XNNPACK's leaky ReLU: one multiplier with 8 bits after the point for each sign."""
    source, target = _formats(operation)
    ratio = np.float32(source.scale) / np.float32(target.scale)
    negative = ratio * np.float32(operation.settings["slope"])
    return _stored(operation, _eight_bits(inputs[0].numpy(), source, target, ratio, negative))


def hard_swish(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """LiteRT's built-in kernel (TensorFlow Lite, reference_ops/hard_swish.h): 16-bit fixed point."""
    source, target = _formats(operation)
    hires = (np.arange(-128, 128, dtype=np.int64) - source.zero_point) * 128
    out_multiplier, out_shift = _multiplier16(source.scale / 128 / target.scale)
    gate_multiplier, gate_shift = _multiplier16(source.scale / 128 * 32768 / 3)
    preshift = _doubling_high(hires, out_multiplier, rounding=True)
    gate = hires
    if gate_shift > 0:
        gate = _saturated(gate << (gate_shift - 1))
    gate = _doubling_high(gate, gate_multiplier, rounding=True)
    if gate_shift > 0:
        gate = _saturated(gate << 1)
    if gate_shift < 0:
        gate = _rounding_shift(gate, -gate_shift)
    product = _doubling_high((gate + (1 << 15)) >> 1, preshift, rounding=False)
    table = _rounding_shift(product, -out_shift) + target.zero_point
    return _stored(operation, table[inputs[0].numpy().astype(np.int64) + 128])


def _formats(operation: Operation) -> tuple[TensorFormat, TensorFormat]:
    (source,) = operation.input_formats
    assert source is not None
    assert operation.output_format is not None
    return source, operation.output_format


def _stored(operation: Operation, values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.clip(values, *operation.clamp).astype(np.int8))


def _eight_bits(
    q: np.ndarray, source: TensorFormat, target: TensorFormat, positive: np.float32, negative: np.float32
) -> np.ndarray:
    """`(q - z_in) * multiplier` rounded half up, the multiplier being a count of 1/256."""
    centred = q.astype(np.int64) - source.zero_point
    up, down = (int(np.rint(ratio * np.float32(256))) for ratio in (positive, negative))
    multiplier = np.where(centred < 0, down, up)
    rounded: np.ndarray = (centred * 128 * multiplier + 0x4000) >> 15
    return rounded + target.zero_point


def _multiplier16(value: float) -> tuple[int, int]:
    """Mantissa of 15 bits and exponent: `value = mantissa * 2^(exponent - 15)`, by way of 31 bits."""
    fraction, exponent = np.frexp(value)
    mantissa = round(float(fraction) * 2**31)
    if mantissa == 2**31:
        mantissa, exponent = mantissa // 2, exponent + 1
    short = 32767 if mantissa >= 2**31 - (1 << 15) else (mantissa + (1 << 15)) >> 16
    return short, int(exponent)


def _doubling_high(a: np.ndarray, b: np.ndarray | int, *, rounding: bool) -> np.ndarray:
    """High half of `2 * a * b` in 16 bits; rounded half away from zero, or cut towards zero."""
    product = a * np.int64(b) if isinstance(b, int) else a * b
    if rounding:
        product = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return _saturated(np.sign(product) * (np.abs(product) >> 15))


def _rounding_shift(values: np.ndarray, shift: int) -> np.ndarray:
    """Division by 2^shift, rounded half away from zero; a negative shift multiplies."""
    if shift <= 0:
        return _saturated(values << -shift)
    rounded: np.ndarray = np.sign(values) * ((np.abs(values) + (1 << (shift - 1))) >> shift)
    return rounded


def _saturated(values: np.ndarray) -> np.ndarray:
    limited: np.ndarray = np.clip(values, -32768, 32767)
    return limited
