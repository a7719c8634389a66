"""The closed set of operators: each a small module on float32 tensors, batch first.

Shapes in comments: N samples, C channels, spatial places behind. Weighted ones are Conv,
ConvTranspose and Linear; the rest hold settings or constants only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional


class Operator(nn.Module):
    """Base: `kind` is the closed name; `settings()` everything but tensors, for keys and files."""

    kind: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        """Plain values that define the operator besides its tensors."""
        return {name: getattr(self, name) for name in self.fields}


class Input(Operator):
    """The network's input; `shape` includes a batch of 1."""

    kind = "input"
    fields = ("shape",)

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x


class Constant(Operator):
    """A tensor from the file that no weighted operator took."""

    kind = "constant"

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    value: Tensor

    def forward(self) -> Tensor:  # noqa: D102
        return self.value


class Conv(Operator):
    """Convolution 1d or 2d: weight (out, in/groups, *kernel); `pads` = begins then ends, as in ONNX."""

    kind = "conv"
    fields = ("stride", "pads", "dilation", "groups")

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: Sequence[int], pads: Sequence[int],
        dilation: Sequence[int], groups: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.stride, self.pads, self.dilation, self.groups = tuple(stride), tuple(pads), tuple(dilation), groups

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return convolve(x, self.weight, self.bias, self)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, like: Conv) -> Tensor:
    """Convolution with the geometry of `like`, padding with zeros."""
    rank = weight.dim() - 2
    begins, ends = like.pads[:rank], like.pads[rank:]
    padding: Any = begins
    if begins != ends:
        flat = [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair]
        x, padding = functional.pad(x, flat), (0,) * rank
    run = functional.conv1d if rank == 1 else functional.conv2d
    return run(x, weight, bias, like.stride, padding, like.dilation, like.groups)


class ConvTranspose(Operator):
    """Transposed convolution: weight (in, out/groups, *kernel)."""

    kind = "conv_transpose"
    fields = ("stride", "pads", "output_padding", "dilation", "groups")

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: Sequence[int], pads: Sequence[int],
        output_padding: Sequence[int], dilation: Sequence[int], groups: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.stride, self.pads, self.dilation, self.groups = tuple(stride), tuple(pads), tuple(dilation), groups
        self.output_padding = tuple(output_padding)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return convolve_transposed(x, self.weight, self.bias, self)


def convolve_transposed(x: Tensor, weight: Tensor, bias: Tensor | None, like: ConvTranspose) -> Tensor:
    """Transposed convolution with the geometry of `like`; what its pads cover is cut off."""
    rank = weight.dim() - 2
    run: Any = functional.conv_transpose1d if rank == 1 else functional.conv_transpose2d
    y: Tensor = run(x, weight, bias, like.stride, 0, like.output_padding, like.groups, like.dilation)
    for i in range(rank):
        begin, end = like.pads[i], like.pads[rank + i]
        y = y.narrow(2 + i, begin, y.shape[2 + i] - begin - end)
    return y


class Linear(Operator):
    """`x @ weight.T + bias` over the last axis: weight (out, in)."""

    kind = "linear"

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.linear(x, self.weight, self.bias)


def with_weights(operator: Operator, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Run a weighted operator on other weights than its own, which stay as they are: threads share operators."""
    if isinstance(operator, Conv):
        return convolve(x, weight, bias, operator)
    if isinstance(operator, ConvTranspose):
        return convolve_transposed(x, weight, bias, operator)
    return functional.linear(x, weight, bias)


class MatMul(Operator):
    """Product of two tensors that are both computed."""

    kind = "matmul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        return a @ b


class BatchNorm(Operator):
    """`(x - mean) / sqrt(var + eps) * scale + shift` per channel (axis 1)."""

    kind = "batch_norm"
    fields = ("eps",)

    def __init__(self, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, eps: float) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)
        self.register_buffer("mean", mean)
        self.register_buffer("var", var)
        self.eps = eps

    mean: Tensor
    var: Tensor

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.batch_norm(x, self.mean, self.var, self.scale, self.shift, False, 0.0, self.eps)
