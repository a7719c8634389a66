"""How many channels of each part of a group go, and which: a share of each, or where a multiplication costs least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.network.channels import channels_of
from studio.network.cost import describe
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


def cheapest(network: Network, parts: Sequence[Part], amount: float) -> list[int]:
    """Channels to remove of each part until a share of the multiplications is gone that hang on all of them.

    Each time those go whose cost for each multiplication saved is the least.
    """
    macs = _Macs(network)
    counts = [0] * len(parts)
    everything = np.concatenate([part.group.classes[part.places] for part in parts])
    goal = macs.total - amount * macs.saved(everything)
    while macs.total > goal + 0.5:
        best = min(
            (found for i, part in enumerate(parts) if (found := _next(part, i, counts[i], macs)) is not None),
            default=None,
        )
        if best is None:
            break
        _, i, count = best
        macs.remove(parts[i].curve.order[counts[i] : count])
        counts[i] = count
    return counts


def _next(part: Part, place: int, gone: int, macs: _Macs) -> tuple[float, int, int] | None:
    """Cost of the part's next channels for each multiplication, the part's place, and how many are gone then."""
    count = next((n for n in range(gone + 1, part.size) if part.allowed(n) == n), None)
    if count is None:
        return None
    cost = part.curve.cost[count - 1] - (part.curve.cost[gone - 1] if gone else 0.0)
    return cost / max(macs.saved(part.curve.order[gone:count]), 1e-9), place, count


class _Macs:
    """Multiplications of a network while channels go."""

    def __init__(self, network: Network) -> None:
        channels, graph = channels_of(network), describe(network)
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
        return float(self._macs @ self._left.prod(0))

    def saved(self, classes: np.ndarray) -> float:
        """Multiplications that go when these classes go too."""
        return self.total - float(self._macs @ self._without(classes).prod(0))

    def remove(self, classes: np.ndarray) -> None:
        """Let classes go."""
        self._left = self._without(classes)

    def _without(self, classes: np.ndarray) -> np.ndarray:
        left: np.ndarray = self._left - sum(self._shares[one] for one in classes.tolist())
        return left


def kept_of(parts: Sequence[Part], counts: Sequence[int]) -> Mapping[str, np.ndarray]:
    """Flags of the channels that stay, by group."""
    kept: dict[str, np.ndarray] = {}
    for part, count in zip(parts, counts, strict=True):
        flags = kept.setdefault(part.group.name, np.ones(len(part.group.classes), np.bool_))
        flags &= ~np.isin(part.group.classes, part.curve.order[:count])
    return kept
