"""What each operator does to the ids of channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studio.core.graph import Shape
from studio.network.channel_ids import Ids, Labels, collapse, first_along, varying
from studio.network.network import Network, Node


class Trace:
    """One pass over a network: labels of every tensor, ids made by every weighted layer."""

    def __init__(self, network: Network, shapes: dict[str, Shape]) -> None:
        self.network = network
        self.shapes = shapes
        self.ids = Ids()
        self.labels: dict[str, Labels] = {}
        self.made: dict[str, np.ndarray] = {}

    def follow(self) -> None:
        """Follow all nodes in order; constants get labels from what first reads them."""
        for node in self.network.nodes:
            if node.kind != "constant":
                self.labels[node.name] = RULES.get(node.kind, _unknown)(self, node)
        for name in self.shapes:
            self.of(name)
        for name in self.network.outputs:
            self.ids.fix(self.of(name), "they are the network's output")

    def of(self, name: str) -> Labels:
        """Labels of a tensor; a constant that nothing gave labels stays whole."""
        if name not in self.labels:
            self.labels[name] = self.ids.opaque(len(self.shapes[name]), "they belong to a constant")
        return self.labels[name]

    def line(self, name: str, axis: int) -> np.ndarray:
        """Ids along one axis; those along the others are tied: a filter reads them together."""
        labels = self.of(name)
        axis %= labels.ndim
        first = first_along(labels, [k for k in range(labels.ndim) if k != axis])
        self.ids.tie(labels, first)
        return np.broadcast_to(first.reshape(-1), self.shapes[name][axis : axis + 1])

    def keep(self, name: str, axes: tuple[int, ...], reason: str) -> Labels:
        """Labels at the first place of `axes`; where they vary along these they are fixed."""
        labels = self.of(name)
        if set(axes).intersection(varying(labels)):
            self.ids.fix(labels, reason)
            self.ids.tie(labels, first_along(labels, axes))
        return first_along(labels, axes)


Rule = Callable[[Trace, Node], Labels]


def _unknown(trace: Trace, node: Node) -> Labels:
    reason = f"{node.name} ({node.kind}) mixes them"
    for name in node.inputs:
        trace.ids.fix(trace.of(name), reason)
    return trace.ids.opaque(len(trace.shapes[node.name]), reason)


def _input(trace: Trace, node: Node) -> Labels:
    return trace.ids.opaque(len(trace.shapes[node.name]), "they are the network's input")


def _same(trace: Trace, node: Node) -> Labels:
    return trace.of(node.inputs[0])


def _conv(trace: Trace, node: Node) -> Labels:
    """New ids; in a grouped convolution the same places of each group go together, or (depthwise) a whole group."""
    shape = trace.shapes[node.name]
    groups: int = node.operator.settings()["groups"]
    before = trace.line(node.inputs[0], 1)
    made = trace.made[node.name] = trace.ids.fresh(shape[1])
    if 1 < groups == len(before):
        trace.ids.tie(before[:, None], made.reshape(groups, -1))
    elif groups > 1:
        for ids in (before, made):
            parts = ids.reshape(groups, -1)
            trace.ids.tie(parts, parts[:1])
    return made.reshape(1, -1, *[1] * (len(shape) - 2))


def _linear(trace: Trace, node: Node) -> Labels:
    rank = len(trace.shapes[node.name])
    trace.keep(node.inputs[0], tuple(range(rank - 1)), f"{node.name} reads them place by place")
    trace.line(node.inputs[0], -1)
    made = trace.made[node.name] = trace.ids.fresh(trace.shapes[node.name][-1])
    return made.reshape(*[1] * (rank - 1), -1)


def _softmax(trace: Trace, node: Node) -> Labels:
    axis = node.operator.settings()["axis"] % len(trace.shapes[node.name])
    if axis in varying(trace.of(node.inputs[0])):
        trace.ids.fix(trace.of(node.inputs[0]), f"{node.name} compares them with each other")
    return trace.of(node.inputs[0])


def _places(trace: Trace, node: Node) -> Labels:
    """Pooling and resizing act along the axes behind the channels."""
    axes = tuple(range(2, len(trace.shapes[node.inputs[0]])))
    return trace.keep(node.inputs[0], axes, f"{node.name} mixes them")


def _mean(trace: Trace, node: Node) -> Labels:
    settings = node.operator.settings()
    axes = tuple(axis % len(trace.shapes[node.inputs[0]]) for axis in settings["axes"])
    labels = trace.keep(node.inputs[0], axes, f"{node.name} takes their mean")
    return labels if settings["keep"] else labels.squeeze(axes)


def _joint(trace: Trace, node: Node) -> Labels:
    """Sums and products: ids at the same place are tied, unless one operand is spread over the other's channels."""
    shape = trace.shapes[node.name]
    for name, other in (node.inputs, node.inputs[::-1]):
        if name not in trace.labels and other in trace.labels:
            trace.labels[name] = _of_constant(trace, name, _lifted(trace, other, len(shape)))
    a, b = (_lifted(trace, name, len(shape)) for name in node.inputs)
    spread_a, spread_b = (_spread(trace.shapes[name], shape) for name in node.inputs)
    free_a, free_b = set(varying(a)) <= spread_b, set(varying(b)) <= spread_a
    if free_a and free_b and (varying(a) or varying(b)):
        if varying(a) and varying(b):
            for labels in (a, b):
                trace.ids.fix(labels, f"{node.name} spreads them over each other")
        return a if varying(a) else b
    trace.ids.tie(a, b)
    return a if len(varying(a)) >= len(varying(b)) else b


def _lifted(trace: Trace, name: str, rank: int) -> Labels:
    labels = trace.of(name)
    return labels.reshape(*[1] * (rank - labels.ndim), *labels.shape)


def _spread(shape: Shape, wide: Shape) -> set[int]:
    """Axes of the result along which an operand of this shape is repeated."""
    missing = len(wide) - len(shape)
    full = (*[1] * missing, *shape)
    return {axis for axis, (own, out) in enumerate(zip(full, wide, strict=True)) if own < out}


def _of_constant(trace: Trace, name: str, other: Labels) -> Labels:
    """Labels of a constant from those of the tensor that it meets; one spread over all channels has its own."""
    shape = trace.shapes[name]
    missing = other.ndim - len(shape)
    spread = [axis for axis in range(other.ndim) if axis < missing or shape[axis - missing] == 1]
    labels = first_along(other, spread)
    if varying(other) and not varying(labels):
        return trace.ids.fresh(1).reshape((1,) * len(shape))
    return labels.reshape(labels.shape[missing:])


def _concat(trace: Trace, node: Node) -> Labels:
    axis = node.operator.settings()["axis"] % len(trace.shapes[node.name])
    for name in node.inputs:
        if name not in trace.labels:
            count = trace.shapes[name][axis]
            trace.labels[name] = _on_axis(trace.ids.fresh(count), axis, len(trace.shapes[name]))
    parts = [trace.of(name) for name in node.inputs]
    sizes = [max(part.shape[k] for part in parts) for k in range(parts[0].ndim)]
    wide = [
        np.broadcast_to(part, [*sizes[:axis], trace.shapes[name][axis], *sizes[axis + 1 :]])
        for part, name in zip(parts, node.inputs, strict=True)
    ]
    return collapse(np.concatenate(wide, axis))


def _on_axis(ids: np.ndarray, axis: int, rank: int) -> Labels:
    return ids.reshape([-1 if k == axis else 1 for k in range(rank)])


def _slice(trace: Trace, node: Node) -> Labels:
    labels = trace.of(node.inputs[0])
    settings = node.operator.settings()
    if len(set(settings["steps"])) > 1 or (len(settings["axes"]) > 1 and settings["steps"][0] != 1):
        trace.ids.fix(labels, f"{node.name} takes every other of them, and of their places")
    for axis, places in zip(settings["axes"], sliced(settings, trace.shapes[node.inputs[0]]), strict=True):
        if labels.shape[axis] > 1:
            labels = labels.take(places, axis)
    return labels


def sliced(settings: dict[str, tuple[int, ...]], shape: Shape) -> list[np.ndarray]:
    """Places that a slice takes along each of its axes."""
    found = []
    size = list(shape)
    for axis, start, end, step in zip(*(settings[k] for k in ("axes", "starts", "ends", "steps")), strict=True):
        taken = np.arange(size[axis])[slice(start, None if step < 0 and end < 0 else end, step)]
        size[axis] = len(taken)
        found.append(taken)
    return found


def _pad(trace: Trace, node: Node) -> Labels:
    """Padding along the channels adds constant ones, which go where what they meet goes."""
    labels = trace.of(node.inputs[0])
    settings = node.operator.settings()
    rank = labels.ndim
    for axis in range(rank):
        begin, end = settings["pads"][axis], settings["pads"][rank + axis]
        along = varying(labels)
        if (begin, end) == (0, 0) or (axis not in along and (along or axis != 1)):
            continue
        if settings["mode"] != "constant" or min(begin, end) < 0:
            return _unknown(trace, node)
        middle = np.broadcast_to(
            labels, [trace.shapes[node.inputs[0]][axis] if k == axis else n for k, n in enumerate(labels.shape)]
        )
        before, after = (
            np.broadcast_to(
                _on_axis(trace.ids.fresh(n), axis, rank), [n if k == axis else m for k, m in enumerate(labels.shape)]
            )
            for n in (begin, end)
        )
        labels = np.concatenate([before, middle, after], axis)
    return labels


def _reshape(trace: Trace, node: Node) -> Labels:
    labels = trace.of(node.inputs[0])
    shape = trace.shapes[node.name]
    if not varying(labels):
        return labels.reshape((1,) * len(shape))
    return collapse(np.broadcast_to(labels, trace.shapes[node.inputs[0]]).reshape(shape))


def _transpose(trace: Trace, node: Node) -> Labels:
    return trace.of(node.inputs[0]).transpose(node.operator.settings()["order"])


def _gather(trace: Trace, node: Node) -> Labels:
    labels = trace.of(node.inputs[0])
    axis = node.operator.settings()["axis"]
    indices = node.operator.state_dict()["indices"].numpy()
    if labels.shape[axis] > 1:
        taken: Labels = labels.take(indices, axis)
        return taken
    shape: Shape = (*labels.shape[:axis], *[1] * indices.ndim, *labels.shape[axis + 1 :])
    return labels.reshape(shape)


def _expand(trace: Trace, node: Node) -> Labels:
    return _lifted(trace, node.inputs[0], len(trace.shapes[node.name]))


def _matmul(trace: Trace, node: Node) -> Labels:
    reason = f"{node.name} multiplies two computed tensors"
    for name in node.inputs:
        trace.ids.fix(trace.of(name), reason)
    return trace.ids.opaque(len(trace.shapes[node.name]), reason)


PASSING = ("relu", "leaky_relu", "prelu", "clip", "sigmoid", "hard_sigmoid", "hard_swish", "tanh", "batch_norm")
RULES: dict[str, Rule] = {
    **dict.fromkeys(PASSING, _same),
    **dict.fromkeys(("add", "sub", "mul", "div"), _joint),
    **dict.fromkeys(("max_pool", "average_pool", "global_average_pool", "resize"), _places),
    **dict.fromkeys(("conv", "conv_transpose"), _conv),
    "input": _input, "linear": _linear, "matmul": _matmul, "softmax": _softmax, "reduce_mean": _mean,
    "concat": _concat, "slice": _slice, "pad": _pad, "reshape": _reshape, "transpose": _transpose,
    "gather": _gather, "expand": _expand,
}  # fmt: skip
