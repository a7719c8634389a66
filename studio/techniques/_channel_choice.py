"""How many channels of each part of a group go, and which: a share of each, or where a multiplication costs least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.core.graph import Graph
from studio.network.channels import channels_of
from studio.network.groups import ChannelGroup
from studio.network.network import Network
from studio.techniques._readers import Curve, lost_whole
from studio.techniques.prune_weights import pruned_count


@dataclass(frozen=True, eq=False)
class Part:
    """Channels of one group that can take turns, in the order in which they go."""

    group: ChannelGroup
    places: np.ndarray  # among the group's classes
    curve: Curve
    settings: Any  # PruneChannelsSettings

    @property
    def size(self) -> int:
        """Number of its channels."""
        return len(self.places)

    def allowed(self, wanted: int) -> int:
        """Largest number of channels up to `wanted` that may go: the rest fits minimum and multiple."""
        multiple = int(self.settings.multiple)
        kept = -(-max(self.size - wanted, self.settings.minimum, 1) // multiple) * multiple
        return int(max(0, self.size - kept))


def share_of_each(parts: Sequence[Part]) -> list[int]:
    """Channels to remove of each part: its share, rounded so that the rest is allowed."""
    return [part.allowed(pruned_count(part.settings.amount, part.size)) for part in parts]


def cheapest(network: Network, graph: Graph, parts: Sequence[Part], amount: float) -> list[int]:
    """Channels to remove of each part until a share of the multiplications is gone that hang on all of them.

    Each time those go whose cost for each multiplication saved is the least. `graph`: the network's.
    """
    macs = _Macs(network, graph)
    everything = np.concatenate([part.group.classes[part.places] for part in parts])
    goal = macs.total - amount * macs.saved(macs.share(everything)[None])[0]
    counts = [0] * len(parts)
    turns = [_turn(part, 0, macs) for part in parts]
    costs, shares = np.array([turn.cost for turn in turns]), np.stack([turn.share for turn in turns])
    while macs.total > goal + 0.5:
        best = int((costs / np.maximum(macs.saved(shares), 1e-9)).argmin())
        if costs[best] == np.inf:
            break
        macs.remove(shares[best])
        counts[best] = turns[best].count
        turns[best] = _turn(parts[best], counts[best], macs)
        costs[best], shares[best] = turns[best].cost, turns[best].share
    return counts


@dataclass(frozen=True, eq=False)
class _Turn:
    """What goes next of a part: how many channels are gone then, at which cost, and their share of each layer."""

    count: int
    cost: float  # inf where nothing can go
    share: np.ndarray  # (2, layers)


def _turn(part: Part, gone: int, macs: _Macs) -> _Turn:
    count = next((n for n in range(gone + 1, part.size) if part.allowed(n) == n), None)
    if count is None:
        return _Turn(gone, np.inf, macs.share([]))
    cost = part.curve.cost[count - 1] - (part.curve.cost[gone - 1] if gone else 0.0)
    return _Turn(count, float(cost), macs.share(part.curve.order[gone:count]))


class _Macs:
    """Multiplications of a network while channels go."""

    def __init__(self, network: Network, graph: Graph) -> None:
        channels = channels_of(network)
        self._macs = np.array([graph.layer(name).macs for name in channels.made], np.float64)
        self._left = np.ones((2, len(self._macs)))  # shares of each layer's inputs and outputs
        self._shares: dict[int, np.ndarray] = {}  # class -> (2, layers) that go with it
        for i, (name, made) in enumerate(channels.made.items()):
            read = channels.lines[network.by_name[name].inputs[0]].classes
            for side, classes in enumerate((read, made)):
                if side == 1 or not lost_whole(network, network.by_name[name]):
                    for one, count in zip(*np.unique(classes, return_counts=True), strict=True):
                        share = self._shares.setdefault(int(one), np.zeros((2, len(self._macs))))
                        share[side, i] = count / len(classes)

    @property
    def total(self) -> float:
        """Multiplications that are left."""
        return float(self._left.prod(0) @ self._macs)

    def share(self, classes: Sequence[int] | np.ndarray) -> np.ndarray:
        """Shares of each layer's inputs and outputs that go with some classes, (2, layers)."""
        found: np.ndarray = sum((self._shares[int(one)] for one in classes), np.zeros((2, len(self._macs))))
        return found

    def saved(self, shares: np.ndarray) -> np.ndarray:
        """Multiplications that go with each of some shares (n, 2, layers) too, (n,)."""
        found: np.ndarray = self.total - (self._left - shares).prod(1) @ self._macs
        return found

    def remove(self, share: np.ndarray) -> None:
        """Let a share go."""
        self._left = self._left - share


def kept_of(parts: Sequence[Part], counts: Sequence[int]) -> Mapping[str, np.ndarray]:
    """Flags of the channels that stay, by group."""
    kept: dict[str, np.ndarray] = {}
    for part, count in zip(parts, counts, strict=True):
        flags = kept.setdefault(part.group.name, np.ones(len(part.group.classes), np.bool_))
        flags &= ~np.isin(part.group.classes, part.curve.order[:count])
    return kept
