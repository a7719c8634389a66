"""The initializers of a weighted operation: what `can` says, the writer writes and read-back compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core.encoding import Coded, Encoding, Grid, Sparse
from studio.lowering.program import Operation, Program

SHIFT = 128
"""Between int8 and uint8."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Arrays as they lie in the file; `scale` None = float32 weights that need no DequantizeLinear."""

    weight: np.ndarray  # int8, uint8 or float32
    scale: np.ndarray | None  # float32 (channels,), or () where all channels share one
    zero: np.ndarray | None  # of the weight's type and the scale's shape
    axis: int  # of the channels
    bias: np.ndarray | None  # int32, or float32 beside float arithmetic
    bias_scale: np.ndarray | None  # float32 (channels,): s_in * s_w

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that is stored."""
        every = (self.weight, self.scale, self.zero, self.bias, self.bias_scale)
        return tuple(array for array in every if array is not None)


def weight_name(operation: Operation, program: Program) -> str:
    """Name of the weights, from which a reader takes the layer's own name."""
    name = f"{operation.nodes[0]}.weight"
    while name in program.tensors:
        name = f"{name}.weight"
    return name


def stored(operation: Operation, program: Program, container: str) -> StoredWeights | None:
    """Weights of an operation; None for one without. `container`: int8 or uint8 for integers."""
    if operation.weights is not None:
        w, source = operation.weights, operation.input_formats[0]
        assert source is not None
        axis = 1 if operation.kind == "conv_transpose" else 0
        weight, scale, zero = _integers(w.q, w.scale, container)
        return StoredWeights(weight, scale, zero, axis, w.bias, np.float32(source.scale) * w.scale)
    if operation.weight is None:
        return None
    if operation.kind == "linear" and len(program.tensors[operation.output].shape) != 2:
        # MatMul takes its weights the other way round, and ONNX Runtime would run integers in other kernels.
        return StoredWeights(operation.weight.T, None, None, 0, operation.bias, None)
    grid = _grid(operation.encoding)
    if grid is None:
        return StoredWeights(operation.weight, None, None, 0, operation.bias, None)
    q, inner = grid
    weight, scale, zero = _integers(q, inner.scale, container)
    return StoredWeights(weight, scale, zero, inner.axis or 0, operation.bias, None)


def _integers(q: np.ndarray, scale: np.ndarray, container: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers in their container with scales and zero points; one of each where all channels share it."""
    if container == "uint8":
        q = (q.astype(np.int16) + SHIFT).astype(np.uint8)
    scale = scale[0] if (scale == scale[0]).all() else scale
    zero = np.full(scale.shape, SHIFT if container == "uint8" else 0, dtype=q.dtype)
    return q, np.asarray(scale, np.float32), zero


def _grid(encoding: Encoding | None) -> tuple[np.ndarray, Grid] | None:
    """Integers of weights on a grid, pruned places zero, and the grid; None for weights that are not on one.

    Scales of groups of inputs need a form of their own, so such a grid is stored as the float32 it stands for.
    """
    if isinstance(encoding, Coded):
        return _grid(encoding.inner)
    if isinstance(encoding, Sparse):
        inner = _grid(encoding.values)
        return None if inner is None else (np.where(encoding.mask, inner[0], np.int8(0)), inner[1])
    return (encoding.q, encoding) if isinstance(encoding, Grid) and encoding.group is None else None
