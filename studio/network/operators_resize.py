"""Resize: another size of the spatial axes, coordinates as ONNX names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from studio.network.operators import Operator

ROUNDING: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": lambda at: at.floor(),
    "ceil": lambda at: at.ceil(),
    "round_prefer_ceil": lambda at: (at + 0.5).floor(),
    "round_prefer_floor": lambda at: (at - 0.5).ceil(),
}
"""Place of the nearest value, by ONNX's `nearest_mode`."""


class Resize(Operator):
    """Spatial axes to `size`: mode nearest or linear, coordinates as ONNX names them.

    Linear: half_pixel, pytorch_half_pixel, align_corners, asymmetric. Nearest: asymmetric or half_pixel
    with the rounding of `nearest`.
    """

    kind = "resize"
    fields = ("size", "mode", "coordinates", "nearest", "scale")

    def __init__(self, size: Sequence[int], mode: str, coordinates: str, nearest: str, scale: Sequence[float]) -> None:
        super().__init__()
        self.size, self.mode, self.coordinates, self.nearest = tuple(size), mode, coordinates, nearest
        self.scale = tuple(scale)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        for i, (size, scale) in enumerate(zip(self.size, self.scale, strict=True)):
            axis = 2 + i
            if size == x.shape[axis]:
                continue
            at = self._places(x.shape[axis], size, scale)
            x = self._take(x, axis, at)
        return x

    def _places(self, before: int, after: int, scale: float) -> Tensor:
        """Where each output value lies in the input; in float32, as ONNX Runtime rounds."""
        i = torch.arange(after, dtype=torch.float32)
        by = torch.tensor(scale, dtype=torch.float32)
        if self.coordinates == "asymmetric":
            return i / by
        if self.coordinates == "align_corners":
            return i * (before - 1) / max(1, after - 1)
        if self.coordinates == "pytorch_half_pixel" and after == 1:
            return torch.zeros(1)
        return (i + 0.5) / by - 0.5

    def _take(self, x: Tensor, axis: int, at: Tensor) -> Tensor:
        last = x.shape[axis] - 1
        if self.mode == "nearest":
            return x.index_select(axis, ROUNDING[self.nearest](at).clamp(0, last).long())
        at = at.clamp(0, last)
        low = at.floor().long()
        share = (at - low).reshape([-1 if d == axis else 1 for d in range(x.dim())])
        high = (low + 1).clamp(max=last)
        return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
