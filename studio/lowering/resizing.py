"""Bilinear resize of int8 tensors (N, C, h, w), as each runtime rounds it. One format in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.lowering.program import Operation, TensorFormat


class _Axis(NamedTuple):
    """For each output place: the two input places around it, and where it lies between them (float32)."""

    low: np.ndarray
    high: np.ndarray
    at: np.ndarray


def onnx_linear(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """ONNX Runtime: float32, the four corners' products added one by one."""
    source, operator = _parts(operation)
    x = (inputs[0].numpy().astype(np.float32) - np.float32(source.zero_point)) * np.float32(source.scale)
    rows, columns = _axes(operator, x.shape, np.float32(1) / np.asarray(operator.scale, np.float32), False)
    below, above = (w[:, None] for w in _weights(rows))
    left, right = _weights(columns)
    total = (left * below) * _corner(x, rows.low, columns.low) + (right * below) * _corner(x, rows.low, columns.high)
    total = total + (left * above) * _corner(x, rows.high, columns.low)
    total = total + (right * above) * _corner(x, rows.high, columns.high)
    found = np.rint(total / np.float32(source.scale)) + source.zero_point
    return torch.from_numpy(found).clamp_(*operation.clamp).to(torch.int8)


def tflite_linear(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """LiteRT: fixed point with weights of 11 bits on each axis, `(v + 2^21) >> 22`."""
    _, operator = _parts(operation)
    q = inputs[0].numpy().astype(np.int64)
    steps = np.asarray(q.shape[2:], np.float32) / np.asarray(operator.size, np.float32)
    rows, columns = _axes(operator, q.shape, steps, True)
    down, across = (np.rint(axis.at * 2048).astype(np.int64) for axis in (rows, columns))
    top = _between(_corner(q, rows.low, columns.low), _corner(q, rows.low, columns.high), across)
    bottom = _between(_corner(q, rows.high, columns.low), _corner(q, rows.high, columns.high), across)
    found = (_between(top, bottom, down[:, None]) + (1 << 21)) >> 22
    return torch.from_numpy(found).clamp_(*operation.clamp).to(torch.int8)


def _parts(operation: Operation) -> tuple[TensorFormat, Any]:
    (source,) = operation.input_formats
    assert source is not None
    return source, operation.operator


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`first` with 11 more bits, moved by `share` of 2048 towards `second`."""
    moved: np.ndarray = (first << 11) + (second - first) * share
    return moved


def _corner(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    corner: np.ndarray = x[:, :, rows][:, :, :, columns]
    return corner


def _weights(axis: _Axis) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the lower and the higher place; halves where both are the same one."""
    same = axis.low == axis.high
    to_low, to_high = np.abs(axis.at), np.abs(axis.at + (axis.low - axis.high).astype(np.float32))
    half = np.float32(0.5)
    return np.where(same, half, to_high), np.where(same, half, to_low)


def _axes(operator: Any, shape: Sequence[int], steps: np.ndarray, multiply: bool) -> tuple[_Axis, _Axis]:
    rows, columns = (
        _axis(operator.coordinates, shape[2 + i], operator.size[i], np.float32(steps[i]), operator.scale[i], multiply)
        for i in range(2)
    )
    return rows, columns


def _axis(mode: str, before: int, after: int, step: np.float32, scale: float, multiply: bool) -> _Axis:
    """Places along one axis; ONNX Runtime divides by the scale, LiteRT multiplies by the step."""
    i = np.arange(after).astype(np.float32)
    half = np.float32(0.5)
    if mode == "align_corners":
        at = i * (np.float32(before - 1) / np.float32(max(1, after - 1)))
    elif mode == "asymmetric":
        at = i * step if multiply else i / np.float32(scale)
    elif mode == "pytorch_half_pixel" and after == 1:
        at = np.zeros(1, np.float32)
    else:
        at = ((i + half) * step if multiply else (i + half) / np.float32(scale)) - half
    at = np.clip(at, 0, before - 1).astype(np.float32)
    low = at.astype(np.int64)
    return _Axis(low, np.minimum(low + 1, before - 1), at - low.astype(np.float32))
