"""Channels removed: from weights, biases, constants and from the settings of whatever moves values about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from studio.core.errors import PlanError, Refused
from studio.core.graph import Shape
from studio.network.channels import Channels, Line, channels_of
from studio.network.cut_operators import CUTS, Cut, Kept
from studio.network.groups import ChannelGroup, groups_of
from studio.network.network import Network, Node


def cut(network: Network, kept: Mapping[str, np.ndarray]) -> Network:
    """Network without the channels that are not kept; nodes keep their names.

    `kept`: by channel group (`groups_of`) a bool array over its classes, or the places of those that
    stay. Nodes that nothing changes are the same objects. What reads a removed channel loses the
    weights for it: the outputs are those of the network in which these weights are zero. Raises
    PlanError for an unknown group or a wrong length, Refused where a channel must stay or a tensor
    would be left without any.
    """
    left = remaining(network, kept)
    nodes = [_cut(node, left) for node in network.nodes]
    return network if all(a is b for a, b in zip(nodes, network.nodes, strict=True)) else network.with_nodes(nodes)


def remaining(network: Network, kept: Mapping[str, np.ndarray]) -> dict[str, Kept]:
    """What `cut` leaves of every tensor; arguments and errors are its."""
    channels, groups = channels_of(network), groups_of(network)
    gone: set[int] = set()
    for name, places in kept.items():
        if name not in groups:
            raise PlanError(f"there is no channel group '{name}'.", remedy=f"Groups: {', '.join(groups)}.")
        gone.update(_gone(groups[name], places, channels))
    dead = np.fromiter(gone, np.int64)
    return {name: _kept(name, line, channels.shapes[name], dead) for name, line in channels.lines.items()}


def _gone(group: ChannelGroup, places: np.ndarray, channels: Channels) -> set[int]:
    """Classes of a group that go."""
    places = np.asarray(places)
    stays = np.zeros(len(group.classes), np.bool_)
    if places.dtype == np.bool_ and places.shape != stays.shape:
        raise PlanError(
            f"{len(places)} flags for {len(stays)} channels.", where=group.name, remedy="Give one for each."
        )
    stays[places] = True
    gone = {int(one) for one in group.classes[~stays]}
    fixed = sorted(gone.intersection(channels.reasons))
    if fixed:
        what = f"a channel that goes must stay: {channels.reasons[fixed[0]]}."
        raise Refused(what, where=group.name, remedy="Keep it.")
    return gone


def _kept(name: str, line: Line, shape: Shape, dead: np.ndarray) -> Kept:
    """What stays of a tensor."""
    stays = ~np.isin(line.classes, dead)
    if not stays.any():
        raise Refused("the cut would leave it without channels.", where=name, remedy="Keep at least one channel.")
    return Kept(shape, None if stays.all() else line.axis, stays)


def _cut(node: Node, left: Mapping[str, Kept]) -> Node:
    one = Cut(node.operator, tuple(left[name] for name in node.inputs), left[node.name])
    if node.kind not in CUTS or all(kept.axis is None for kept in (*one.inputs, one.output)):
        return node
    return replace(node, operator=CUTS[node.kind](one))
