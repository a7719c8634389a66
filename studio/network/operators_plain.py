"""Operators without weights: activations, joins, pooling, and moving values about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studio.network.operators import Operator
from studio.network.operators_resize import Resize as Resize


class Relu(Operator):
    """`max(x, 0)`."""

    kind = "relu"

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.relu(x)


class LeakyRelu(Operator):
    """`x` where positive, else `slope * x`."""

    kind = "leaky_relu"
    fields = ("slope",)

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.leaky_relu(x, self.slope)


class Prelu(Operator):
    """`x` where positive, else `slope * x`; slope broadcasts against a sample, (C, 1, 1) or (1,)."""

    kind = "prelu"

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope)

    slope: Tensor

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.where(x > 0, x, self.slope * x)


class Clip(Operator):
    """`min(max(x, low), high)`; ReLU6 is 0..6."""

    kind = "clip"
    fields = ("low", "high")

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.clamp(self.low, self.high)


class Sigmoid(Operator):
    """`1 / (1 + exp(-x))`."""

    kind = "sigmoid"

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.sigmoid(x)


class HardSigmoid(Operator):
    """`min(max(alpha * x + beta, 0), 1)`."""

    kind = "hard_sigmoid"
    fields = ("alpha", "beta")

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return (self.alpha * x + self.beta).clamp(0.0, 1.0)


class HardSwish(Operator):
    """`x * min(max(x / 6 + 0.5, 0), 1)`."""

    kind = "hard_swish"

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.hardswish(x)


class Tanh(Operator):
    """Hyperbolic tangent."""

    kind = "tanh"

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.tanh(x)


class Softmax(Operator):
    """`exp(x) / sum(exp(x))` along `axis`."""

    kind = "softmax"
    fields = ("axis",)

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.softmax(x, self.axis)


class Add(Operator):
    """Sum of two tensors, broadcast as in numpy."""

    kind = "add"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        return a + b


class Sub(Operator):
    """Difference of two tensors."""

    kind = "sub"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        return a - b


class Mul(Operator):
    """Product of two tensors, value by value."""

    kind = "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        return a * b


class Div(Operator):
    """Quotient of two tensors, value by value."""

    kind = "div"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        return a / b


class _Pool(Operator):
    """Window over the spatial axes; `pads` = begins then ends; `ceil` keeps a last part window."""

    fields: ClassVar[tuple[str, ...]] = ("kernel", "stride", "pads", "ceil")

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int], ceil: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.pads, self.ceil = tuple(kernel), tuple(stride), tuple(pads), ceil

    def _padded(self, x: Tensor, fill: float, dilation: Sequence[int]) -> Tensor:
        """Input with its pads, and behind them what a last part window needs (`ceil`)."""
        rank, flat = len(self.kernel), []
        for i in reversed(range(rank)):
            begin, end, size = self.pads[i], self.pads[rank + i], x.shape[2 + i]
            reach = dilation[i] * (self.kernel[i] - 1) + 1
            if self.ceil:
                places = math.ceil((size + begin + end - reach) / self.stride[i]) + 1
                # A window that would start behind the input and its first pad does not count.
                places -= (places - 1) * self.stride[i] >= size + begin
                end = max(end, (places - 1) * self.stride[i] + reach - size - begin)
            flat += [begin, end]
        return functional.pad(x, flat, value=fill) if any(flat) else x


class MaxPool(_Pool):
    """Largest value of each window."""

    kind = "max_pool"
    fields = (*_Pool.fields, "dilation")

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int], ceil: bool = False,
        dilation: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kernel, stride, pads, ceil)
        self.dilation = tuple(dilation or (1,) * len(self.kernel))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        run: Any = functional.max_pool1d if len(self.kernel) == 1 else functional.max_pool2d
        y: Tensor = run(self._padded(x, -math.inf, self.dilation), self.kernel, self.stride, 0, self.dilation)
        return y


class AveragePool(_Pool):
    """Mean of each window; `count_pads` says whether padding counts as zeros."""

    kind = "average_pool"
    fields = (*_Pool.fields, "count_pads")

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int], ceil: bool = False,
        count_pads: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(kernel, stride, pads, ceil)
        self.count_pads = count_pads

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        ones = (1,) * len(self.kernel)
        run: Any = functional.avg_pool1d if len(self.kernel) == 1 else functional.avg_pool2d
        y: Tensor = run(self._padded(x, 0.0, ones), self.kernel, self.stride)
        if not any(self.pads) and not self.ceil:
            return y
        inside = functional.pad(torch.ones_like(x[:1, :1]), self._flat_pads(), value=1.0) if self.count_pads else None
        mask = torch.ones_like(x[:1, :1]) if inside is None else inside
        rest = self if inside is None else AveragePool(self.kernel, self.stride, (0,) * 2 * len(ones), self.ceil)
        share: Tensor = run(rest._padded(mask, 0.0, ones), self.kernel, self.stride)
        # Seen over the padded input, one more window may count: its values lie in the last pad alone.
        return y / share[(slice(None), slice(None), *(slice(n) for n in y.shape[2:]))]

    def _flat_pads(self) -> list[int]:
        rank = len(self.kernel)
        return [p for i in reversed(range(rank)) for p in (self.pads[i], self.pads[rank + i])]


class GlobalAveragePool(Operator):
    """Mean over all spatial axes, kept as 1: (N, C, ...) -> (N, C, 1, ...)."""

    kind = "global_average_pool"

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.mean(tuple(range(2, x.dim())), keepdim=True)


class ReduceMean(Operator):
    """Mean over `axes` (not the batch)."""

    kind = "reduce_mean"
    fields = ("axes", "keep")

    def __init__(self, axes: Sequence[int], keep: bool) -> None:
        super().__init__()
        self.axes, self.keep = tuple(axes), keep

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.mean(self.axes, keepdim=self.keep)


class Concat(Operator):
    """Tensors one behind the other along `axis`."""

    kind = "concat"
    fields = ("axis",)

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat(x, self.axis)


class Slice(Operator):
    """Part of a tensor: along each of `axes` from `starts` to `ends` by `steps`, resolved to plain places."""

    kind = "slice"
    fields = ("axes", "starts", "ends", "steps")

    def __init__(self, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> None:
        super().__init__()
        self.axes, self.starts, self.ends, self.steps = tuple(axes), tuple(starts), tuple(ends), tuple(steps)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        for axis, start, end, step in zip(self.axes, self.starts, self.ends, self.steps, strict=True):
            if step > 0:
                x = x[(slice(None),) * axis + (slice(start, end, step),)]
            else:
                back = list(range(x.shape[axis]))[slice(start, None if end < 0 else end, step)]
                x = x.index_select(axis, torch.tensor(back, dtype=torch.int64))
        return x


class Pad(Operator):
    """Values around a tensor: `pads` = begins then ends over all axes; mode constant, reflect or edge."""

    kind = "pad"
    fields = ("pads", "mode", "value")

    def __init__(self, pads: Sequence[int], mode: str, value: float) -> None:
        super().__init__()
        self.pads, self.mode, self.value = tuple(pads), mode, value

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        rank = len(self.pads) // 2
        flat = [p for i in reversed(range(rank)) for p in (self.pads[i], self.pads[rank + i])]
        if self.mode == "constant":
            return functional.pad(x, flat, value=self.value)
        while len(flat) > 2 and flat[-2:] == [0, 0] and len(flat) > 2 * (rank - 2):
            flat = flat[:-2]
        return functional.pad(x, flat, mode="replicate" if self.mode == "edge" else self.mode)


class Reshape(Operator):
    """Another shape of the same values: `shape` behind the batch, which stays (flatten, squeeze ... too)."""

    kind = "reshape"
    fields = ("shape", "keep_batch")

    def __init__(self, shape: Sequence[int], keep_batch: bool = True) -> None:
        super().__init__()
        self.shape, self.keep_batch = tuple(shape), keep_batch

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.reshape((len(x), *self.shape) if self.keep_batch else self.shape)


class Transpose(Operator):
    """Axes in another order."""

    kind = "transpose"
    fields = ("order",)

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.permute(self.order)


class Gather(Operator):
    """Values at constant `indices` along `axis`."""

    kind = "gather"
    fields = ("axis",)

    def __init__(self, indices: Tensor, axis: int) -> None:
        super().__init__()
        self.register_buffer("indices", indices)
        self.axis = axis

    indices: Tensor

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        taken = x.index_select(self.axis, self.indices.flatten())
        shape = (*x.shape[: self.axis], *self.indices.shape, *x.shape[self.axis + 1 :])
        return taken.reshape(shape)


class Expand(Operator):
    """Broadcast to `shape` behind the batch."""

    kind = "expand"
    fields = ("shape",)

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.expand(np.broadcast_shapes(x.shape, (1, *self.shape)))
