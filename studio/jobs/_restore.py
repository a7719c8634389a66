"""Statistics of outputs brought back before training: what re-estimating a batch norm does where it is folded.

Pruning and coarse grids shrink and shift what every layer gives; a network that starts so wastes epochs
or loses whole channels behind a ReLU. Scale and bias of each output channel are set so that its mean
and standard deviation over some samples are those of the network before (Jordan et al. 2023, REPAIR;
Nagel et al. 2019, section 4.2, for the bias alone).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from studio.jobs._forms import Form
from studio.jobs._trainable import Trainable
from studio.network.network import Network, Node

Moments = tuple[Tensor, Tensor]
"""Mean and standard deviation of each channel."""
LEAST, MOST = 0.25, 4.0
"""A channel's scale is changed by no more: one that has nearly nothing left is not blown up."""


def restore(model: Trainable, forms: dict[str, Form], before: Network, x: Tensor) -> None:
    """Set weights, grids and biases of all layers that the model changes, in one pass over samples x.

    `before`: network of the same shapes, without what the model does to weights.
    """
    if not before.free_batch:  # single samples have no statistics
        return
    target: dict[str, Moments] = {}

    def look(node: Node, values: Tensor) -> None:
        if node.name in model.weights:
            target[node.name] = moments(values, axis_of(node, values))

    before.run((x,), visit=look)
    with model.hooked({name: _fitting(model, forms.get(name), name, target[name]) for name in target}):
        with torch.no_grad():
            model(x)


def axis_of(node: Node, values: Tensor) -> int:
    """Axis of the output channels."""
    return values.dim() - 1 if node.kind == "linear" else 1


def _fitting(model: Trainable, form: Form | None, name: str, target: Moments) -> Callable[[Tensor], Tensor]:
    """Change of a layer's output that corrects the layer on the way, and then what it just gave."""

    def fit(y: Tensor) -> Tensor:
        weight, bias = model.tensors[f"{name}.weight"], model.tensors.get(f"{name}.bias")
        axis = axis_of(model.network.by_name[name], y)
        own = torch.zeros(y.shape[axis]) if bias is None else bias.clone()
        mean, spread = moments(y, axis)
        wanted_mean, wanted_spread = target
        factor = (wanted_spread / spread.clamp_min(1e-12)).clamp(LEAST, MOST)
        if can_scale(model, form, name):
            scale_channels(weight, form, factor)
        else:
            factor = torch.ones_like(factor)
        shift = own if bias is None else wanted_mean - factor * (mean - own)
        if bias is not None:
            bias.copy_(shift)
        shape = [-1 if d == axis else 1 for d in range(y.dim())]
        return (y - own.reshape(shape)) * factor.reshape(shape) + shift.reshape(shape)

    return fit


def can_scale(model: Trainable, form: Form | None, name: str) -> bool:
    """True where each output channel of a layer can be multiplied by a factor of its own."""
    return model.network.by_name[name].kind != "conv_transpose" and (form is None or form.by_channel)


def scale_channels(weight: Tensor, form: Form | None, factor: Tensor) -> None:
    """Multiply the weight of each output channel, and the scale of what is stored of it."""
    weight.mul_(by_channel(factor, weight.dim()))
    if form is not None:
        form.rescale(factor)


def by_channel(values: Tensor, rank: int) -> Tensor:
    """Values of output channels in a shape that multiplies a weight of so many axes."""
    return values.reshape(-1, *[1] * (rank - 1))


def moments(values: Tensor, axis: int) -> Moments:
    """Mean and standard deviation of each channel."""
    rows = values.movedim(axis, 0).flatten(1)
    return rows.mean(1), rows.std(1)
