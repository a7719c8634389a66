"""Which shared value each weight takes, learned from what the layer sees (GPTQ, Frantar et al. 2023).

The weights of a filter take their values one after the other, and those that are still free make good the
error of each at once: in closed form, from the second moments of the inputs. Before that the weights are
fitted so that the layer, on what the compressed layers before it give, comes as near as it can to the float
network's output; pruned weights are values that are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.core.errors import Cancelled

LEAST = 0.01
"""Least share of the moments that is replaced by equal ones for all inputs."""
COLUMNS = 64
"""Inputs whose weights are done before the change is carried on to all others."""


@dataclass(frozen=True, eq=False)
class Task:
    """One layer; groups of channels that do not mix lie along axis 0, all in float64.

    `second` (groups, d, d): moments of the inputs about `inputs` (groups, 1, d), their mean; `cross`
    (groups, d, outputs): with the float network's outputs, whose mean is `outputs` (groups, 1, outputs).
    """

    second: Tensor
    cross: Tensor
    inputs: Tensor
    outputs: Tensor

    def errors(self, weight: Tensor) -> float:
        """Squared error of the output for weights (groups, outputs, d), but for what no weights can change."""
        return float(((weight @ self.second - 2 * self.cross.transpose(1, 2)) * weight).sum())

    def bias(self, weight: Tensor) -> Tensor:
        """Bias (groups, 1, outputs) with which the mean of each output is the float network's."""
        return self.outputs - self.inputs @ weight.transpose(1, 2)


def task_of(rows: Tensor, targets: Tensor, weight: Tensor) -> Task:
    """Moments of `rows` (groups, R, d) and `targets` (groups, R, outputs), drawn towards equal inputs.

    How far: as is best for so few samples (oracle approximating shrinkage, Chen et al. 2010), so that what
    the samples do not show stays as `weight` (groups, outputs, d) has it.
    """
    count, width = rows.shape[1], rows.shape[2]
    inputs, outputs = rows.double().mean(1, keepdim=True), targets.double().mean(1, keepdim=True)
    centred = rows - inputs.float()  # before the products, which would lose small variances about large means
    second = (centred.mT @ centred).double() / count
    cross = (centred.mT @ (targets - outputs.float())).double() / count
    mean = second.diagonal(dim1=1, dim2=2).mean(1)
    share = _shrinkage(second, mean * width, count)[:, None, None]
    equal = torch.where(mean > 0, mean, torch.ones_like(mean))[:, None, None]  # a group that is never active
    second = (1 - share) * second + share * equal * torch.eye(width, dtype=torch.float64)
    return Task(second, (1 - share) * cross + share * equal * weight.double().mT, inputs, outputs)


def _shrinkage(second: Tensor, trace: Tensor, count: int) -> Tensor:
    """Share (groups,) by equation 23 of Chen et al. 2010."""
    width = second.shape[1]
    squares = second.square().sum((1, 2))
    above = (1 - 2 / width) * squares + trace.square()
    below = (count + 1 - 2 / width) * (squares - trace.square() / width)
    return torch.where(below > 0, above / below.clamp(min=1e-300), torch.ones_like(below)).clamp(LEAST, 1)


def assign(
    task: Task, tables: Tensor, quick: Tensor, free: Tensor, *,
    stop: Callable[[], bool] | None = None, progress: Callable[[float], None] | None = None,
) -> Tensor:  # fmt: skip
    """Index of every weight's value, int64 (groups, outputs, d); never worse than `quick` on the task.

    `tables` (groups, outputs, k): each filter's values; `quick`: the indices of the nearest ones;
    `free` (groups, outputs, d): False where a weight keeps the value it has. `progress(share done)`;
    raises Cancelled when `stop()` says so.
    """
    learned = _one_by_one(task, tables, quick, free, stop, progress)
    better = task.errors(values_of(tables, learned)) < task.errors(values_of(tables, quick))
    return learned if better else quick


def values_of(tables: Tensor, indices: Tensor) -> Tensor:
    """Value of every index: (groups, outputs, d)."""
    return tables.gather(2, indices)


def _one_by_one(
    task: Task, tables: Tensor, quick: Tensor, free: Tensor,
    stop: Callable[[], bool] | None, progress: Callable[[float], None] | None,
) -> Tensor:  # fmt: skip
    weight = torch.linalg.solve(task.second, task.cross).mT.contiguous()
    factor = torch.linalg.cholesky(torch.linalg.inv(task.second), upper=True)
    indices, width = quick.clone(), weight.shape[2]
    ordered, order = tables.sort(2)
    borders = ((ordered[:, :, 1:] + ordered[:, :, :-1]) / 2).contiguous()
    for begin in range(0, width, COLUMNS):
        if stop and stop():
            raise Cancelled
        end = min(begin + COLUMNS, width)
        errors = torch.zeros(*weight.shape[:2], end - begin, dtype=torch.float64)
        for at in range(begin, end):
            now = weight[:, :, at : at + 1].contiguous()
            nearest = order.gather(2, torch.searchsorted(borders, now))
            indices[:, :, at : at + 1] = torch.where(free[:, :, at : at + 1], nearest, quick[:, :, at : at + 1])
            error = (now - tables.gather(2, indices[:, :, at : at + 1])) / factor[:, None, at : at + 1, at]
            weight[:, :, at:end] -= error * factor[:, None, at, at:end]
            errors[:, :, at - begin : at - begin + 1] = error
        weight[:, :, end:] -= errors @ factor[:, begin:end, end:]
        if progress:
            progress(end / width)
    return indices
