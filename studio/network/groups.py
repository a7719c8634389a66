"""Channel groups: layers whose output channels must be cut together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from studio.network.channel_ids import components
from studio.network.channels import Channels, channels_of
from studio.network.network import Network, Node


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Layers that are cut together; what can be removed is a whole class of tied channels.

    A sum of two layers with 16 channels has 16 classes; a ResNet's padded shortcut (option A) ties its
    stages, and the classes of the first stage hold channels of all; a concat's inputs are one group,
    with a class for each of their channels. `parts`: classes that lie in the very same tensors; a
    share is taken of each, so that no tensor is emptied and all are cut alike.
    """

    name: str  # its first layer
    layers: tuple[str, ...]
    classes: np.ndarray  # (n,) in the order of their first channel
    parts: tuple[np.ndarray, ...]  # places in `classes` of those that can go
    uncut: str | None  # why no channel can go, as a sentence

    @property
    def free(self) -> int:
        """Number of classes that can go (but for one of each part)."""
        return sum(len(part) for part in self.parts)

    def companions(self, layer: str) -> tuple[str, ...]:
        """Other layers that are cut with this one."""
        return tuple(name for name in self.layers if name != layer)


_KNOWN: WeakKeyDictionary[Network, dict[str, ChannelGroup]] = WeakKeyDictionary()


def channel_groups(network: Network) -> dict[str, str]:
    """Group of every weighted layer, named after its first layer in the file's order."""
    return {layer: group.name for group in groups_of(network).values() for layer in group.layers}


def groups_of(network: Network) -> dict[str, ChannelGroup]:
    """Channel groups by name, in the file's order; kept, for networks are never edited."""
    if network not in _KNOWN:
        _KNOWN[network] = _groups(network, channels_of(network))
    return _KNOWN[network]


def depthwise(node: Node) -> bool:
    """True for a convolution in which every input channel has filters of its own."""
    if node.kind != "conv":
        return False
    groups: int = node.operator.settings()["groups"]
    weight = node.operator.state_dict()["weight"]
    return groups > 1 and weight.shape[1] == 1


def _groups(network: Network, channels: Channels) -> dict[str, ChannelGroup]:
    number = _numbers(network, channels)
    layers: dict[int, list[str]] = {}
    for name, classes in channels.made.items():
        layers.setdefault(int(number[classes[0]]), []).append(name)
    alike = _alike(channels)
    return {names[0]: _group(tuple(names), channels, alike) for names in layers.values()}


def _numbers(network: Network, channels: Channels) -> np.ndarray:
    """Number of the group of each class: the classes of a layer, and those that a concat puts in one line, are one."""
    count = 1 + max(int(line.classes.max()) for line in channels.lines.values())
    made = np.unique(np.concatenate([np.zeros(0, np.int64), *channels.made.values()]))
    together = list(channels.made.values())
    for node in network.nodes:
        if node.kind == "concat":
            together.append(np.intersect1d(channels.lines[node.name].classes, made))
    together = [classes for classes in together if len(classes)]
    left = np.concatenate([np.zeros(0, np.int64), *together])
    right = np.concatenate([np.zeros(0, np.int64), *(np.full(len(c), c[0]) for c in together)])
    return components(count, left, right)


def _alike(channels: Channels) -> Mapping[int, tuple[tuple[str, int], ...]]:
    """For each class the tensors that it lies in, and how often: equal for classes that can take turns."""
    found: dict[int, list[tuple[str, int]]] = {}
    for name, line in channels.lines.items():
        for one, count in zip(*np.unique(line.classes, return_counts=True), strict=True):
            found.setdefault(int(one), []).append((name, int(count)))
    return {one: tuple(places) for one, places in found.items()}


def _group(
    layers: tuple[str, ...], channels: Channels, alike: Mapping[int, tuple[tuple[str, int], ...]]
) -> ChannelGroup:
    made = np.concatenate([channels.made[name] for name in layers])
    classes = np.array(list(dict.fromkeys(made.tolist())))
    parts: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for place, one in enumerate(classes.tolist()):
        if one not in channels.reasons:
            parts.setdefault(alike[one], []).append(place)
    kept = tuple(np.array(places) for places in parts.values())
    return ChannelGroup(layers[0], layers, classes, kept, _uncut(layers[0], classes, kept, channels))


def _uncut(name: str, classes: np.ndarray, parts: tuple[np.ndarray, ...], channels: Channels) -> str | None:
    if not parts:
        return f"The channels of {name} must stay: {channels.reasons[int(classes[0])]}."
    if max(len(part) for part in parts) < 2:
        return f"The channels of {name} cannot be cut one by one: they are one, or all hang together."
    return None
