"""A weighted layer as one matrix product a group of channels: the form in which its weights are fitted.

Row r of a layer's input is what one place of its output looks at: `output[r] = rows[r] @ matrix.T + bias`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from studio.network.operators import Conv, ConvTranspose, Linear, Operator

BLOCK = 1 << 24
"""Values of unfolded samples held at once."""
Sizes = tuple[int, ...]


def groups_of(operator: Operator) -> int:
    """Groups of channels that do not mix."""
    return operator.groups if isinstance(operator, Conv | ConvTranspose) else 1


def to_matrix(weight: Tensor, operator: Operator) -> Tensor:
    """Weights, or anything of their shape, as (groups, outputs of a group, values of a row).

    conv (8, 4, 3, 3) -> (1, 8, 36), depthwise (8, 1, 3, 3) -> (8, 1, 9), linear (10, 64) -> (1, 10, 64);
    a transposed convolution (in, out, *kernel) is a convolution with its kernel turned round.
    """
    groups = groups_of(operator)
    if isinstance(operator, ConvTranspose):
        parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
        return parts.flip(tuple(range(3, parts.dim()))).flatten(2)
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def from_matrix(matrix: Tensor, operator: Operator) -> Tensor:
    """Inverse of `to_matrix`."""
    shape = cast(Tensor, operator.weight).shape
    if isinstance(operator, ConvTranspose):
        parts = matrix.reshape(*matrix.shape[:2], -1, *shape[2:])
        return parts.flip(tuple(range(3, parts.dim()))).transpose(1, 2).reshape(shape)
    return matrix.reshape(shape)


def places(shape: Sequence[int], operator: Operator) -> int:
    """Rows of one sample for a layer whose output has this shape, batch first."""
    return math.prod(shape[1:-1] if isinstance(operator, Linear) else shape[2:])


def input_rows(x: Tensor, operator: Operator, chosen: Tensor) -> Tensor:
    """What the `chosen` places (N, P) of a layer's output look at: (groups, N * P, values of a row)."""
    if isinstance(operator, Linear):
        found = x.reshape(len(x), -1, x.shape[-1])
        return _taken(found, chosen).flatten(0, 1)[None]
    assert isinstance(operator, Conv | ConvTranspose)
    kernel, stride, dilation, pads = _planar(operator)
    x = x if x.dim() == 4 else x[:, :, None]
    if isinstance(operator, ConvTranspose):
        x, pads, stride = _spread(x, stride), _turned(operator, kernel, dilation, pads), (1, 1)
    x = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    # All places of all samples at once may not fit into memory.
    size = max(1, BLOCK // (x[0].numel() * math.prod(kernel)))
    parts = [
        _taken(functional.unfold(part, kernel, dilation, 0, stride).transpose(1, 2), own)
        for part, own in zip(torch.split(x, size), torch.split(chosen, size), strict=True)
    ]
    taken = torch.cat(parts).flatten(0, 1)
    return taken.reshape(len(taken), operator.groups, -1).transpose(0, 1).contiguous()


def output_rows(y: Tensor, operator: Operator, chosen: Tensor) -> Tensor:
    """A layer's output at the `chosen` places (N, P): (groups, N * P, outputs of a group)."""
    found = y.reshape(len(y), -1, y.shape[-1]) if isinstance(operator, Linear) else y.flatten(2).transpose(1, 2)
    taken = _taken(found, chosen).flatten(0, 1)
    return taken.reshape(len(taken), groups_of(operator), -1).transpose(0, 1).contiguous()


def _taken(rows: Tensor, chosen: Tensor) -> Tensor:
    return rows.gather(1, chosen[:, :, None].expand(-1, -1, rows.shape[2]))


def _planar(
    operator: Conv | ConvTranspose,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, stride, dilation and pads of two axes; one spatial axis becomes a height of 1."""
    kernel = tuple(cast(Tensor, operator.weight).shape[2:])
    if len(kernel) == 2:
        return kernel, operator.stride, operator.dilation, operator.pads
    begin, end = operator.pads
    return (1, *kernel), (1, *operator.stride), (1, *operator.dilation), (0, begin, 0, end)


def _spread(x: Tensor, stride: Sizes) -> Tensor:
    """Zeros between the values, so that a transposed convolution becomes a plain one of stride 1."""
    high, wide = ((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))
    spread = torch.zeros(*x.shape[:2], high, wide)
    spread[:, :, :: stride[0], :: stride[1]] = x
    return spread


def _turned(
    operator: ConvTranspose, kernel: Sizes, dilation: Sizes, pads: Sizes
) -> Sizes:  # fmt: skip
    """Pads of the plain convolution: what its kernel reaches, less what is cut off, plus the extra places."""
    extra = (0, *operator.output_padding)[-2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    ends = [r - p + e for r, p, e in zip(reach, pads[2:], extra, strict=True)]
    return (*(r - p for r, p in zip(reach, pads[:2], strict=True)), *ends)
