"""The initializers of a weighted operation: what `can` says, the writer writes and read-back compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from studio.core.encoding import Coded, Encoding, Grid, Sparse
from studio.lowering.program import Operation, Program

SHIFT = 128
"""Between int8 and uint8."""
INT4 = np.dtype(helper.tensor_dtype_to_np_dtype(TensorProto.INT4))
"""Two weights a byte in the file; in memory one."""
FOUR = range(-8, 8)
"""What INT4 holds."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Arrays as they lie in the file; `scale` None = float32 weights that need no DequantizeLinear.

    INT4 weights are cast to int8 before they are dequantized: ONNX Runtime does that once, when it loads the
    file, and then runs integer kernels, which it has none of for INT4 itself.
    """

    weight: np.ndarray  # int4, int8, uint8 or float32
    scale: np.ndarray | None  # float32 (channels,), () where all share one, or of the weight's rank for groups
    zero: np.ndarray | None  # int8 or uint8, of the scale's shape
    axis: int  # of the channels, or along which `group` inputs share a scale
    bias: np.ndarray | None  # int32, or float32 beside float arithmetic
    bias_scale: np.ndarray | None  # float32 (channels,): s_in * s_w
    group: int | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that is stored."""
        every = (self.weight, self.scale, self.zero, self.bias, self.bias_scale)
        return tuple(array for array in every if array is not None)

    @property
    def bytes(self) -> int:
        """Of all arrays in the file."""
        return sum((array.size + 1) // 2 if array.dtype == INT4 else array.nbytes for array in self.arrays)

    @property
    def newer(self) -> bool:
        """True for what came with opset 21: INT4, and scales of groups."""
        return self.weight.dtype == INT4 or self.group is not None


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
        weight, scale, zero = _integers(w.q, w.scale, container, w.width)
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
    if inner.group is not None and inner.axis is not None:
        return _grouped(q, inner, operation.bias)
    weight, scale, zero = _integers(q, inner.scale, container, inner.width)
    return StoredWeights(weight, scale, zero, inner.axis or 0, operation.bias, None)


def _grouped(q: np.ndarray, grid: Grid, bias: np.ndarray | None) -> StoredWeights:
    """Scales of groups of inputs, repeated for every place of the kernel, as DequantizeLinear wants them."""
    assert grid.axis is not None
    scale = grid.scale if grid.axis == 0 else grid.scale.T
    scale = np.broadcast_to(scale.reshape(*scale.shape, *[1] * (q.ndim - 2)), (*scale.shape, *q.shape[2:]))
    weight, _, _ = _integers(q, grid.scale, "int8", grid.width)
    zero = np.zeros(scale.shape, np.int8)
    return StoredWeights(weight, np.ascontiguousarray(scale), zero, 1 - grid.axis, bias, None, grid.group)


def _integers(
    q: np.ndarray, scale: np.ndarray, container: str, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Integers in their container with scales and zero points; one of each where all channels share it.

    Up to 4 bits go into INT4 whatever the container: products of such small weights saturate nowhere.
    """
    if width <= 4 and q.size and int(q.min()) in FOUR and int(q.max()) in FOUR:
        container, q = "int4", q.astype(INT4)
    if container == "uint8":
        q = (q.astype(np.int16) + SHIFT).astype(np.uint8)
    scale = scale[0] if (scale == scale[0]).all() else scale
    zero = np.full(scale.shape, SHIFT, np.uint8) if container == "uint8" else np.zeros(scale.shape, np.int8)
    return q, np.asarray(scale, np.float32), zero


def _grid(encoding: Encoding | None) -> tuple[np.ndarray, Grid] | None:
    """Integers of weights on a grid, pruned places zero, and the grid; None for weights that are not on one."""
    if isinstance(encoding, Coded):
        return _grid(encoding.inner)
    if isinstance(encoding, Sparse):
        inner = _grid(encoding.values)
        return None if inner is None else (np.where(encoding.mask, inner[0], np.int8(0)), inner[1])
    return (encoding.q, encoding) if isinstance(encoding, Grid) else None
