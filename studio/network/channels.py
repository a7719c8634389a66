"""Where each channel of a network lies: ids of channels, followed through every operator.

Every output channel of a weighted layer gets an id of its own. Operators pass ids on, select them,
add constant ones, or tie them together; ids that are tied form a *class*: the smallest set of
channels that can only be removed together. (The idea of a dependency graph: Fang et al. 2023,
DepGraph; here on single channels, so that parts of a tensor may be cut on their own.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from studio.core.graph import Shape
from studio.network.channel_ids import Labels, collapse, components, first_along, varying
from studio.network.channel_rules import Trace
from studio.network.network import Network
from studio.network.shapes import tensor_shapes


@dataclass(frozen=True)
class Line:
    """Classes of one tensor along the axis on which its channels lie; one class where `axis` is None."""

    axis: int | None
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Channels:
    """Channel classes of a network."""

    lines: Mapping[str, Line]  # of every tensor
    made: Mapping[str, np.ndarray]  # weighted layer -> classes of its output channels
    reasons: Mapping[int, str]  # class -> why it must stay; a class that is not named can be removed
    shapes: Mapping[str, Shape]


_KNOWN: WeakKeyDictionary[Network, Channels] = WeakKeyDictionary()


def channels_of(network: Network) -> Channels:
    """Channel classes of a network; kept, for networks are never edited."""
    if network not in _KNOWN:
        _KNOWN[network] = _channels(network)
    return _KNOWN[network]


def _channels(network: Network) -> Channels:
    trace = Trace(network, tensor_shapes(network))
    trace.follow()
    classes = trace.ids.classes()
    for labels in trace.labels.values():
        one = collapse(classes[labels])
        if len(varying(one)) > 1:
            trace.ids.tie(one, _along(one, _widest(one)))
            classes = trace.ids.classes()
    made = {name: classes[ids] for name, ids in trace.made.items()}
    lines = {name: _line(collapse(classes[labels])) for name, labels in trace.labels.items()}
    return Channels(lines, made, trace.ids.reasons(classes), trace.shapes)


def _line(labels: Labels) -> Line:
    axes = varying(labels)
    return Line(axes[0] if axes else None, labels.reshape(-1))


def _along(labels: Labels, axis: int) -> Labels:
    """Labels at the first place of every other axis."""
    return first_along(labels, [k for k in range(labels.ndim) if k != axis])


def _widest(labels: Labels) -> int:
    """Axis that leaves most classes when a tensor is only cut along it: a cut tensor must be a box."""

    def left(axis: int) -> int:
        known, places = np.unique(labels, return_inverse=True)
        places = places.reshape(labels.shape)
        a, b = np.broadcast_arrays(places, _along(places, axis))
        return len(np.unique(components(len(known), a.reshape(-1), b.reshape(-1))))

    return max(varying(labels), key=left)
