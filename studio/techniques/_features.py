"""A weighted layer as a linear map on rows of inputs, and the fit of its weights to targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.network.network import Node
from studio.network.operators import ConvTranspose, Linear, Operator
from studio.network.parameters import with_parameters
from studio.techniques._input_moments import chosen, patches

ROWS = (12, 4096)
"""Rows for a fit: so many for each unknown of an output, and so many more."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs (groups, n, d) and targets (groups, n, outputs of a group) of a layer at n places, float32.

    d = kernel places * in of a group, channels innermost.
    """

    inputs: Tensor
    targets: Tensor


Take = Callable[[Tensor], Tensor]
"""From a tensor (N, ...) of the layer's outputs to its values at the rows' places, (n, channels)."""


def rows_of(node: Node, x: Tensor, target: Callable[[Take], Tensor]) -> Rows:
    """Rows of a convolution or linear layer: its input `x` (N, ...), and what `target` takes that it should give.

    Places are drawn at random over all samples, the same ones at every call.
    """
    operator = node.operator
    groups, _, unknowns = weights_of(operator).shape
    wanted = ROWS[0] * unknowns + ROWS[1]
    inputs = patches(x, node, wanted, np.random.default_rng(0))
    axis = -1 if isinstance(operator, Linear) else 1

    def take(value: Tensor) -> Tensor:
        flat = value.movedim(axis, -1).flatten(0, -2)
        return flat[chosen(len(flat), wanted, np.random.default_rng(0))]

    n, places, _ = inputs.shape
    inputs = inputs.reshape(n, places, groups, -1).permute(2, 0, 1, 3).reshape(groups, n, -1)
    return Rows(inputs, target(take).reshape(n, groups, -1).movedim(1, 0))


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
    old = _innermost(weights_of(operator), operator)
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
    return with_parameters(operator, _outermost(new, operator), bias)


def _innermost(weights: Tensor, operator: Operator) -> Tensor:
    """Weights of `weights_of` (groups, outputs, in * places) -> (groups, outputs, places * in)."""
    weight: Tensor = operator.weight  # type: ignore[assignment]
    return weights.reshape(*weights.shape[:2], -1, math.prod(weight.shape[2:])).mT.flatten(-2)


def _outermost(weights: Tensor, operator: Operator) -> Tensor:
    """Weights (groups, outputs, places * in) in the shape of the layer's."""
    weight: Tensor = operator.weight  # type: ignore[assignment]
    return weights.reshape(*weights.shape[:2], math.prod(weight.shape[2:]), -1).mT.reshape(weight.shape)


def _solve(x: Tensor, rest: Tensor, ridge: float) -> Tensor:
    """Return argmin |x w - rest|^2 + (ridge + d / n) |x|^2 / d |w|^2, by the smaller of the two normal equations."""
    n, d = x.shape[1:]
    ridge += d / n
    square = (_gram(x) if d <= n else _gram(x.mT)).double()
    size = square.diagonal(dim1=-2, dim2=-1).sum(-1) / d
    pull = torch.where(size > 0, ridge * size, 1.0)[:, None, None] * torch.eye(square.shape[-1], dtype=torch.float64)
    if d <= n:
        found: Tensor = torch.linalg.solve(square + pull, (x.mT @ rest).double())
    else:
        found = x.mT.double() @ torch.linalg.solve(square + pull, rest.double())
    return found


def _gram(x: Tensor) -> Tensor:
    """`x.mT @ x`; numpy computes one half of a single matrix, for the other is the same."""
    if len(x) > 1:
        return x.mT @ x
    one = x[0].numpy()
    return torch.from_numpy(one.T @ one)[None]
