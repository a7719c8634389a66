"""Each operator without the channels that are removed from what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from studio.core.graph import Shape
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.channel_rules import sliced
from studio.network.operators import Operator


@dataclass(frozen=True, eq=False)
class Kept:
    """What stays of a tensor: flags along one axis; all of it where `axis` is None."""

    shape: Shape  # before
    axis: int | None
    flags: np.ndarray

    def along(self, axis: int) -> np.ndarray:
        """Places that stay along an axis."""
        flags = self.flags if axis % len(self.shape) == self.axis else np.ones(self.shape[axis], np.bool_)
        return np.flatnonzero(flags)

    @property
    def after(self) -> Shape:
        """Shape of what stays."""
        return tuple(len(self.along(axis)) for axis in range(len(self.shape)))


@dataclass(frozen=True, eq=False)
class Cut:
    """One operator with what stays of its inputs and of its output."""

    operator: Operator
    inputs: tuple[Kept, ...]
    output: Kept


def take(tensor: Tensor, axis: int, places: np.ndarray) -> Tensor:
    """Part of a tensor, in memory of its own."""
    return tensor.detach().index_select(axis, torch.from_numpy(places)).contiguous()


def _taken(tensor: Tensor | None, places: np.ndarray) -> Tensor | None:
    return None if tensor is None else take(tensor, 0, places)


def _grouped(groups: int, before: np.ndarray, rows: int) -> tuple[int, np.ndarray]:
    """Groups that stay, and places of a group's inputs: either whole groups of one input go, or the same in each."""
    if groups == rows:
        return len(before), np.arange(1)
    size = rows // groups
    return groups, before[before < size]


def _conv(cut: Cut) -> Operator:
    conv = cut.operator
    assert isinstance(conv, op.Conv)
    before, after = cut.inputs[0].along(1), cut.output.along(1)
    groups, inputs = (1, before) if conv.groups == 1 else _grouped(conv.groups, before, cut.inputs[0].shape[1])
    weight = take(take(conv.weight, 0, after), 1, inputs)
    return op.Conv(weight, _taken(conv.bias, after), conv.stride, conv.pads, conv.dilation, groups)


def _conv_transpose(cut: Cut) -> Operator:
    conv = cut.operator
    assert isinstance(conv, op.ConvTranspose)
    before, after = cut.inputs[0].along(1), cut.output.along(1)
    whole = 1 < conv.groups == cut.inputs[0].shape[1]
    size = conv.weight.shape[1]
    outputs = np.arange(size) if whole else after[after < size]
    weight = take(take(conv.weight, 0, before), 1, outputs)
    return op.ConvTranspose(
        weight, _taken(conv.bias, after), conv.stride, conv.pads, conv.output_padding, conv.dilation,
        len(before) if whole else conv.groups,
    )  # fmt: skip


def _linear(cut: Cut) -> Operator:
    linear = cut.operator
    assert isinstance(linear, op.Linear)
    before, after = cut.inputs[0].along(-1), cut.output.along(-1)
    return op.Linear(take(take(linear.weight, 0, after), 1, before), _taken(linear.bias, after))


def _batch_norm(cut: Cut) -> Operator:
    norm = cut.operator
    assert isinstance(norm, op.BatchNorm)
    places = cut.output.along(1)
    scale, shift, mean, var = (take(t, 0, places) for t in (norm.scale, norm.shift, norm.mean, norm.var))
    return op.BatchNorm(scale, shift, mean, var, norm.eps)


def _constant(cut: Cut) -> Operator:
    assert isinstance(cut.operator, op.Constant)
    return op.Constant(_broadcast(cut.operator.value, cut.output))


def _prelu(cut: Cut) -> Operator:
    assert isinstance(cut.operator, plain.Prelu)
    return plain.Prelu(_broadcast(cut.operator.slope, cut.output))


def _broadcast(value: Tensor, kept: Kept) -> Tensor:
    """A tensor that broadcasts against another, cut where it is as long as that one."""
    if kept.axis is None:
        return value
    axis = kept.axis - (len(kept.shape) - value.dim())
    return value if axis < 0 or value.shape[axis] == 1 else take(value, axis, kept.along(kept.axis))


def _slice(cut: Cut) -> Operator:
    """A slice where the places still lie evenly, else the places themselves."""
    slicing = cut.operator
    assert isinstance(slicing, plain.Slice)
    axis = cut.inputs[0].axis
    if axis is None or axis not in slicing.axes:
        return slicing
    settings = slicing.settings()
    rest = [i for i, a in enumerate(slicing.axes) if a != axis]
    taken = np.arange(cut.inputs[0].shape[axis])
    for a, places in zip(slicing.axes, sliced(settings, cut.inputs[0].shape), strict=True):
        taken = taken[places] if a == axis else taken
    found = _moved(taken, cut.inputs[0].along(axis))
    if not rest and any(step != 1 for step in np.diff(found)):
        return plain.Gather(torch.from_numpy(found), axis)
    values = [[settings[key][i] for i in rest] for key in ("axes", "starts", "ends", "steps")]
    own = (axis, int(found[0]), int(found[-1]) + 1, 1)
    return plain.Slice(*([*value, new] for value, new in zip(values, own, strict=True)))


def _moved(places: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Places that stay, as they are counted after the cut."""
    return np.searchsorted(stays, places[np.isin(places, stays)])


def _pad(cut: Cut) -> Operator:
    pad = cut.operator
    assert isinstance(pad, plain.Pad)
    axis, rank = cut.output.axis, len(cut.output.shape)
    if axis is None:
        return pad
    begin, size = pad.pads[axis], cut.inputs[0].shape[axis]
    places = cut.output.along(axis)
    pads = list(pad.pads)
    pads[axis] = int((places < begin).sum())
    pads[rank + axis] = int((places >= begin + size).sum())
    return plain.Pad(pads, pad.mode, pad.value)


def _reshape(cut: Cut) -> Operator:
    reshape = cut.operator
    assert isinstance(reshape, plain.Reshape)
    shape = cut.output.after
    return plain.Reshape(shape[1:] if reshape.keep_batch else shape, reshape.keep_batch)


def _expand(cut: Cut) -> Operator:
    assert isinstance(cut.operator, plain.Expand)
    shape, axis = list(cut.operator.shape), cut.output.axis
    place = -1 if axis is None else axis - (len(cut.output.shape) - len(shape))
    if axis is not None and place >= 0 and shape[place] != 1:
        shape[place] = len(cut.output.along(axis))
    return plain.Expand(shape)


def _gather(cut: Cut) -> Operator:
    gather = cut.operator
    assert isinstance(gather, plain.Gather)
    indices = gather.indices.numpy()
    for axis in range(indices.ndim):
        indices = indices.take(cut.output.along(gather.axis + axis), axis)
    stays = cut.inputs[0].along(gather.axis)
    places = np.searchsorted(stays, indices % cut.inputs[0].shape[gather.axis])
    return plain.Gather(torch.from_numpy(np.asarray(places)), gather.axis)


CUTS: dict[str, Callable[[Cut], Operator]] = {
    "conv": _conv, "conv_transpose": _conv_transpose, "linear": _linear, "batch_norm": _batch_norm,
    "constant": _constant, "prelu": _prelu, "slice": _slice, "pad": _pad, "reshape": _reshape,
    "expand": _expand, "gather": _gather,
}  # fmt: skip
"""Operators whose tensors or settings depend on the number of channels; all others stay as they are."""
