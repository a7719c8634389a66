"""Weights drawn anew, on the architecture that a plan's cuts and factors have made."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from studio.jobs._restore import by_channel
from studio.jobs._trainable import Trainable

NEAR = 1e-12


def draw(model: Trainable, x: Tensor, seed: int) -> None:
    """Draw all weights of a model by He et al. (2015), normal with variance `2 / inputs`; biases are zero.

    Where batch norm is folded nothing brings tensors to one size: each channel's weight and bias are
    then set so that it has mean 0 and standard deviation 1 over samples x, as batch norm would at the
    first step (Kraehenbuehl et al. 2016, section 3.1).
    """
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.tensors.items():
            layer, _, part = name.rpartition(".")
            if part == "weight":
                spread = math.sqrt(2 / _inputs(tensor, model.network.by_name[layer].kind))
                tensor.copy_(spread * torch.randn(tensor.shape, generator=draws))
            else:
                tensor.fill_(1.0 if part == "scale" else 0.0)
        if model.network.free_batch:  # single samples have no statistics
            with model.hooked({name: _to_size_one(model, name) for name in _weighted(model)}):
                model(x)


def _inputs(weight: Tensor, kind: str) -> int:
    """Numbers that one output is a sum of: (out, in, kh, kw), of a transposed convolution (in, out, kh, kw)."""
    return weight[:, 0].numel() if kind == "conv_transpose" else weight[0].numel()


def _weighted(model: Trainable) -> list[str]:
    """Layers whose output channels are the first axis of their weight."""
    names = [name.removesuffix(".weight") for name in model.tensors if name.endswith(".weight")]
    return [name for name in names if model.network.by_name[name].kind != "conv_transpose"]


def _to_size_one(model: Trainable, name: str) -> Callable[[Tensor], Tensor]:
    """Change of a layer's output that corrects the layer on the way, and then what it just gave."""

    def change(y: Tensor) -> Tensor:
        weight, bias = model.tensors[f"{name}.weight"], model.tensors.get(f"{name}.bias")
        axis = y.dim() - 1 if model.network.by_name[name].kind == "linear" else 1
        rows = y.movedim(axis, 0).flatten(1)
        spread = rows.std(1)
        factor = torch.where(spread > NEAR, 1 / spread.clamp_min(NEAR), torch.ones_like(spread))
        shift = torch.zeros_like(factor) if bias is None else -factor * rows.mean(1)
        weight.mul_(by_channel(factor, weight.dim()))
        if bias is not None:
            bias.copy_(shift)
        shape = [-1 if d == axis else 1 for d in range(y.dim())]
        return y * factor.reshape(shape) + shift.reshape(shape)

    return change
