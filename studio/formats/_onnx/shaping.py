"""Converters of operators that move values about: reshape, slice, pad, resize and their kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from studio.formats._onnx.build import Builder, Call, Ref, converts
from studio.formats._onnx.constants import axes_of, slice_arguments
from studio.network import operators_plain as plain


def reshape_to(builder: Builder, call: Call, shape: Sequence[int]) -> None:
    """Reshape to a shape whose first size is the batch where it is 1 on both sides."""
    x = call.ref()
    keep = len(shape) > 0 and shape[0] == 1 and x.shape[0] == 1
    if tuple(shape) == x.shape:
        builder.values[call.node.output[0]] = x
        return
    builder.emit(call, plain.Reshape(tuple(shape[1:]) if keep else tuple(shape), keep), [x])


@converts("Reshape")
def reshape(builder: Builder, call: Call) -> None:
    """Reshape with 0 (keep) and -1 (rest)."""
    x, wanted = call.ref(), call.attributes.get("shape", call.constant(1))
    if wanted is None:
        raise builder.fail(call, "its shape is computed from values.", "Export the network with fixed shapes.")
    shape = [int(d) for d in np.ravel(wanted)]
    if not call.attributes.get("allowzero", 0):
        shape = [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]
    reshape_to(builder, call, tuple(x.sample.reshape(shape).shape))


@converts("Flatten")
def flatten(builder: Builder, call: Call) -> None:
    """Two axes: those before `axis`, the rest."""
    x = call.ref()
    axis = call.attributes.get("axis", 1)
    axis = axis if axis >= 0 else axis + len(x.shape)
    reshape_to(builder, call, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@converts("Squeeze", "Unsqueeze")
def squeeze(builder: Builder, call: Call) -> None:
    """Axes of size 1 away, or put in."""
    x, axes = call.ref(), axes_of(call.inputs, call.attributes)  # type: ignore[arg-type]
    if call.node.op_type == "Squeeze":
        rank = len(x.shape)
        gone = {a % rank for a in axes} if axes else {i for i, d in enumerate(x.shape) if d == 1 and i}
        reshape_to(builder, call, tuple(d for i, d in enumerate(x.shape) if i not in gone))
        return
    shape = list(x.shape)
    rank = len(shape) + len(axes or ())
    for axis in sorted(a % rank for a in axes or ()):
        shape.insert(axis, 1)
    reshape_to(builder, call, tuple(shape))


@converts("Transpose")
def transpose(builder: Builder, call: Call) -> None:
    """Axes in another order; reversed where none is given."""
    x = call.ref()
    order = call.attributes.get("perm", list(range(len(x.shape)))[::-1])
    if list(order) == list(range(len(x.shape))):
        builder.values[call.node.output[0]] = x
    else:
        builder.emit(call, plain.Transpose(order), [x])


@converts("Concat")
def concat(builder: Builder, call: Call) -> None:
    """Tensors one behind the other."""
    refs = [builder.ref(call, i) for i in range(len(call.inputs))]
    rank = len(refs[0].shape)
    builder.check_size(call, [sum(math.prod(ref.shape) for ref in refs)])
    builder.emit(call, plain.Concat(call.attributes["axis"] % rank), refs)


@converts("Slice")
def slice_(builder: Builder, call: Call) -> None:
    """Part of a tensor, places resolved against its shape."""
    x = call.ref()
    if any(isinstance(v, Ref) for v in call.inputs[1:]):
        raise builder.fail(call, "its places are computed from values.", "Export the network with fixed shapes.")
    arguments = slice_arguments(call.inputs, call.attributes, len(x.shape))  # type: ignore[arg-type]
    axes, starts, ends, steps = [], [], [], []
    for start, end, axis, step in zip(*arguments, strict=True):
        first, last, by = slice(start, None if step < 0 and end < -x.shape[axis] else end, step).indices(x.shape[axis])
        if (first, last, by) == (0, x.shape[axis], 1):
            continue
        axes.append(axis)
        starts.append(first)
        ends.append(last)
        steps.append(by)
    if axes:
        builder.emit(call, plain.Slice(axes, starts, ends, steps), [x])
    else:
        builder.values[call.node.output[0]] = x


@converts("Split")
def split(builder: Builder, call: Call) -> None:
    """One slice for each output."""
    x, parts = call.ref(), len(call.node.output)
    axis = call.attributes.get("axis", 0) % len(x.shape)
    given = call.attributes.get("split", call.constant(1))
    even = -(-x.shape[axis] // parts)
    whole = [min(even, x.shape[axis] - i * even) for i in range(parts)]
    sizes = whole if given is None else [int(s) for s in np.ravel(given)]
    if len(sizes) != parts or min(sizes) < 0 or sum(sizes) != x.shape[axis]:
        raise builder.fail(call, f"its parts {sizes} are not those of {x.shape[axis]} values.", "Export it again.")
    start = 0
    for i, size in enumerate(sizes):
        if call.node.output[i]:
            builder.emit(call, plain.Slice([axis], [start], [start + size], [1]), [x], output=i)
        start += size


@converts("Pad")
def pad(builder: Builder, call: Call) -> None:
    """Values around a tensor."""
    x = call.ref()
    found = call.attributes.get("pads", call.constant(1))
    fill = call.attributes.get("value", call.constant(2))
    if found is None:
        raise builder.fail(call, "its pads are computed from values.", "Export the network with fixed shapes.")
    pads = [int(p) for p in np.ravel(found)]
    axes = call.constant(3)
    if axes is not None:
        rank, given = len(x.shape), [int(a) % len(x.shape) for a in np.ravel(axes)]
        whole = [0] * 2 * rank
        for i, axis in enumerate(given):
            whole[axis], whole[rank + axis] = pads[i], pads[len(given) + i]
        pads = whole
    mode = call.attributes.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise builder.fail(call, f"padding mode '{mode}' is not supported.", "Use constant, reflect or edge.")
    builder.check_size(call, [d + pads[i] + pads[len(x.shape) + i] for i, d in enumerate(x.shape)])
    if any(pads):
        builder.emit(call, plain.Pad(pads, mode, 0.0 if fill is None else float(np.ravel(fill)[0])), [x])
    else:
        builder.values[call.node.output[0]] = x


@converts("Resize", "Upsample")
def resize(builder: Builder, call: Call) -> None:
    """Spatial axes to another size."""
    x, t = call.ref(), call.attributes
    old = call.node.op_type == "Upsample" or call.opset < 11
    scales = t.get("scales", call.constant(1 if old else 2))
    sizes = None if old else call.constant(3)
    mode = t.get("mode", "nearest")
    coordinates = "asymmetric" if old else t.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear") or coordinates not in (
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
    ):  # fmt: skip
        raise builder.fail(call, f"resizing with {mode}, {coordinates} is not supported.", "Use nearest or linear.")
    if sizes is not None:
        size = [int(s) for s in _spatial(builder, call, sizes, list(x.shape[:2]))]
        scale = [s / d for s, d in zip(size, x.shape[2:], strict=True)]
    else:
        scale = [float(s) for s in _spatial(builder, call, scales, [1.0, 1.0])]
        size = [math.floor(d * s) for d, s in zip(x.shape[2:], scale, strict=True)]
    builder.check_size(call, [*x.shape[:2], *size])
    nearest = "floor" if old else t.get("nearest_mode", "round_prefer_floor")
    builder.emit(call, plain.Resize(size, mode, coordinates, nearest, scale), [x])


def _spatial(builder: Builder, call: Call, given: Any, kept: list[Any]) -> list[Any]:
    """Sizes or scales of the spatial axes, all the others being as they are."""
    x, t = call.ref(), call.attributes
    if given is None or t.get("antialias", 0) or t.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        what = "resizing to computed sizes, with antialias or kept aspect is not supported."
        raise builder.fail(call, what, "Export it with fixed sizes.")
    found = np.ravel(given).tolist()
    axes = [a % len(x.shape) for a in t.get("axes", range(len(x.shape)))]
    if len(found) != len(axes):
        raise builder.fail(call, f"it has {len(found)} sizes for {len(axes)} axes.", "The file is damaged.")
    asked = dict(zip(axes, found, strict=True))
    if any(asked.get(i, same) != same for i, same in enumerate(kept)):
        raise builder.fail(call, "it resizes the batch or the channels.", "Resize height and width only.")
    unchanged = x.shape if isinstance(found[0], int) else [1.0] * len(x.shape)
    return [asked.get(i, unchanged[i]) for i in range(2, len(x.shape))]


@converts("Gather")
def gather(builder: Builder, call: Call) -> None:
    """Values at stored places."""
    places, x = call.constant(1), call.ref()
    if places is None:
        raise builder.fail(call, "its places are computed from values.")
    axis = call.attributes.get("axis", 0) % len(x.shape)
    found = places.astype(np.int64)
    found = np.where(found < 0, found + x.shape[axis], found)
    builder.emit(call, plain.Gather(torch.from_numpy(np.array(found)), axis), [x])


@converts("Expand")
def expand(builder: Builder, call: Call) -> None:
    """Broadcast to a stored shape."""
    shape, x = call.constant(1), call.ref()
    if shape is None:
        raise builder.fail(call, "its shape is computed from values.", "Export the network with fixed shapes.")
    whole = builder.check_size(call, np.broadcast_shapes(x.shape, tuple(int(d) for d in np.ravel(shape))))
    if tuple(whole) == x.shape:
        builder.values[call.node.output[0]] = x
    else:
        builder.emit(call, plain.Expand(tuple(whole)[1:]), [x])
