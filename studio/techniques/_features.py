"""A weighted layer as a linear map on rows of inputs, and the fit of its weights to targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.network.network import Node
from studio.network.operators import Conv, ConvTranspose, Linear, Operator
from studio.techniques._input_moments import patches

ROWS = (12, 4096)
"""Rows for a fit: so many for each unknown of an output, and so many more."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs (groups, n, d) and targets (groups, n, outputs of a group) of a layer at n places, float32."""

    inputs: Tensor
    targets: Tensor


def rows_of(node: Node, x: Tensor, target: Tensor) -> Rows:
    """Rows of a convolution or linear layer: its input `x` (N, ...) and what it should give (N, ...).

    Places are drawn at random over all samples, the same ones at every call.
    """
    weight = weights_of(node.operator)
    groups, outputs, unknowns = weight.shape
    axis = -1 if isinstance(node.operator, Linear) else 1
    flat = target.movedim(axis, -1).reshape(-1, groups * outputs)
    wanted = ROWS[0] * unknowns + ROWS[1]
    inputs = patches(x, node, wanted, np.random.default_rng(0))
    chosen = np.random.default_rng(0).choice(len(flat), min(wanted, len(flat)), replace=False)
    return Rows(_by_group(inputs, groups), _by_group(flat[chosen], groups))


def _by_group(rows: Tensor, groups: int) -> Tensor:
    """Rows (n, groups * m) -> (groups, n, m)."""
    return rows.reshape(len(rows), groups, -1).movedim(1, 0)


def weights_of(operator: Operator) -> Tensor:
    """Weights as maps of rows: (groups, outputs of a group, d); a transposed one's outputs at each kernel place."""
    weight: Tensor = operator.weight.detach()  # type: ignore[operator]
    groups: int = operator.settings().get("groups", 1)
    if isinstance(operator, ConvTranspose):
        return weight.reshape(groups, len(weight) // groups, -1).mT
    return weight.reshape(groups, len(weight) // groups, -1)


def fitted(operator: Operator, rows: Rows, ridge: float) -> Operator:
    """Layer whose weights (and bias, where it has one) give the targets with the least squared error.

    `ridge` (and as much for each unknown as there are few rows) pulls towards the weights that it has.
    Solved in float64.
    """
    old = weights_of(operator)
    bias: Any = operator.bias
    x, rest = rows.inputs, rows.targets
    mean = x.mean(1, keepdim=True)
    if bias is not None:
        x = x - mean
        level = rest.mean(1, keepdim=True)
        rest = rest - level
    new = old + _solve(x, rest - x @ old.mT, ridge).mT.float()
    if bias is not None:
        bias = (level - mean @ new.mT).flatten()
    weight = new.reshape(operator.weight.shape)  # type: ignore[arg-type]
    if isinstance(operator, Linear):
        return Linear(weight, bias)
    assert isinstance(operator, Conv)
    return Conv(weight, bias, operator.stride, operator.pads, operator.dilation, operator.groups)


def _solve(x: Tensor, rest: Tensor, ridge: float) -> Tensor:
    """Return argmin |x w - rest|^2 + (ridge + d / n) |x|^2 / d |w|^2, by the smaller of the two normal equations."""
    n, d = x.shape[1:]
    ridge += d / n
    square = (x.mT @ x if d <= n else x @ x.mT).double()
    size = square.diagonal(dim1=-2, dim2=-1).sum(-1) / d
    pull = torch.where(size > 0, ridge * size, 1.0)[:, None, None] * torch.eye(square.shape[-1], dtype=torch.float64)
    if d <= n:
        found: Tensor = torch.linalg.solve(square + pull, (x.mT @ rest).double())
    else:
        found = x.mT.double() @ torch.linalg.solve(square + pull, rest.double())
    return found
