"""Operators on constants, folded with numpy when the file is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

Array = np.ndarray
Attributes = dict[str, Any]
LARGEST = 1 << 28
"""Values of a tensor that a file may ask for without storing them."""


def _gather(a: Sequence[Array], t: Attributes) -> Array:
    taken: Array = np.take(a[0], a[1].astype(np.int64), axis=t.get("axis", 0))
    return taken


def _slice(a: Sequence[Array], t: Attributes) -> Array:
    starts, ends, axes, steps = slice_arguments(a, t, a[0].ndim)
    index: list[Any] = [slice(None)] * a[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, None if step < 0 and end < -a[0].shape[axis] else end, step)
    part: Array = a[0][tuple(index)]
    return part


def slice_arguments(a: Sequence[Array | None], t: Attributes, rank: int) -> tuple[list[int], ...]:
    """Starts, ends, axes (not negative) and steps of Slice, as attributes (opset 9) or inputs."""
    if "starts" in t:
        starts, ends, axes, steps = t["starts"], t["ends"], t.get("axes"), None
    else:
        starts, ends = _ints(a, 1), _ints(a, 2)
        axes, steps = _ints(a, 3), _ints(a, 4)
    axes = list(axes) if axes else list(range(len(starts)))
    return list(starts), list(ends), [ax % rank for ax in axes], list(steps) if steps else [1] * len(axes)


def _ints(a: Sequence[Array | None], i: int) -> list[int]:
    found = a[i] if i < len(a) else None
    return [] if found is None else [int(v) for v in np.ravel(found)]


def axes_of(a: Sequence[Array | None], t: Attributes) -> list[int] | None:
    """Axes as attribute or as second input; None where there are none."""
    if "axes" in t:
        return list(t["axes"])
    return _ints(a, 1) if len(a) > 1 and a[1] is not None else None


def _squeeze(a: Sequence[Array], t: Attributes) -> Array:
    axes = axes_of(a, t)
    return np.squeeze(a[0], tuple(axes) if axes else None)


def _unsqueeze(a: Sequence[Array], t: Attributes) -> Array:
    found = a[0]
    axes = axes_of(a, t) or []
    rank = found.ndim + len(axes)
    for axis in sorted(ax % rank for ax in axes):
        found = np.expand_dims(found, axis)
    return found


def _cast(a: Sequence[Array], t: Attributes) -> Array:
    kind = helper.tensor_dtype_to_np_dtype(t["to"])
    return a[0].astype(np.float32 if kind.kind == "f" or kind.name == "bfloat16" else kind)


def _reshape(a: Sequence[Array], t: Attributes) -> Array:
    shape = list(t["shape"]) if "shape" in t else _ints(a, 1)
    return a[0].reshape([a[0].shape[i] if d == 0 else d for i, d in enumerate(shape)])


def _filled(a: Sequence[Array], t: Attributes) -> Array:
    value = t.get("value", np.zeros(1, np.float32))
    return np.full(_limited([int(d) for d in a[0]]), np.ravel(value)[0], dtype=value.dtype)


def _expand(a: Sequence[Array], t: Attributes) -> Array:
    return np.broadcast_to(a[0], _limited(np.broadcast_shapes(a[0].shape, tuple(int(d) for d in a[1])))).copy()


def _concat(a: Sequence[Array], t: Attributes) -> Array:
    _limited([sum(v.size for v in a)])
    return np.concatenate(list(a), axis=t["axis"])


def _limited(shape: Sequence[int]) -> Sequence[int]:
    """Return the shape; raises ValueError where a few bytes of a file would fill the memory."""
    if math.prod(shape) > LARGEST:
        raise ValueError(f"a constant of {math.prod(shape):,} values is too large")
    return shape


def _range(a: Sequence[Array], t: Attributes) -> Array:
    start, stop, step = (v.item() for v in a[:3])
    _limited([max(0, math.ceil((stop - start) / step))])
    return np.arange(start, stop, step).astype(a[0].dtype)


def _div(a: Sequence[Array], t: Attributes) -> Array:
    if a[0].dtype.kind in "iu":
        return np.asarray(np.trunc(a[0] / a[1]), dtype=a[0].dtype)
    return np.asarray(a[0] / a[1])


def _product(a: Sequence[Array], t: Attributes) -> Array:
    axes = tuple(axes_of(a, t) or range(a[0].ndim))
    return np.asarray(np.prod(a[0], axis=axes, keepdims=bool(t.get("keepdims", 1))), dtype=a[0].dtype)


FOLDED: dict[str, Callable[[Sequence[Array], Attributes], Array]] = {
    "Identity": lambda a, t: a[0],
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Flatten": lambda a, t: a[0].reshape(int(np.prod(a[0].shape[: t.get("axis", 1)])), -1),
    "Transpose": lambda a, t: np.transpose(a[0], t.get("perm")),
    "Shape": lambda a, t: np.array(a[0].shape, dtype=np.int64),
    "Size": lambda a, t: np.array(a[0].size, dtype=np.int64),
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Range": _range,
    "Add": lambda a, t: a[0] + a[1],
    "Sub": lambda a, t: a[0] - a[1],
    "Mul": lambda a, t: a[0] * a[1],
    "Div": _div,
    "Neg": lambda a, t: -a[0],
    "Sqrt": lambda a, t: np.sqrt(a[0]),
    "Pow": lambda a, t: np.power(a[0], a[1]).astype(a[0].dtype),
    "Floor": lambda a, t: np.floor(a[0]),
    "Ceil": lambda a, t: np.ceil(a[0]),
    "Equal": lambda a, t: np.equal(a[0], a[1]),
    "Where": lambda a, t: np.where(a[0], a[1], a[2]),
    "ReduceProd": _product,
}  # fmt: skip
