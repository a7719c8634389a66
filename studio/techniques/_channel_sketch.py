"""A cut in its quick form, from what is in memory and from weights alone: no sample is run.

Which channels go: by the order that holds in full where it is known, or where the moments are that it follows
from; else by the weights that read them. What stands behind the cut is fitted by the moments of its inputs in
the uncut network, layer by layer for itself, where these are known (the closed form of `_readers`), else not.
The full form, which goes through both networks side by side, takes its place when it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.core import registry
from studio.network.cutting import cut
from studio.network.groups import groups_of
from studio.network.network import Network, Node
from studio.network.operators import ConvTranspose
from studio.network.parameters import with_parameters
from studio.techniques._channel_cut import (
    eliminations,
    kept_channels,
    order_key,
    order_of,
    readers_among,
    readers_key,
)
from studio.techniques._readers import Curve, Reader, weight_readers
from studio.techniques._rewrite import RewriteContext
from studio.techniques.prune_channels import RECONSTRUCTION


def sketched(
    network: Network, work: Mapping[str, Any], context: RewriteContext
) -> tuple[Network, Mapping[str, np.ndarray]]:
    """Network that is cut in the quick form, and the flags of the channels that stay, by group."""
    kept = kept_channels(network, work, context, _orders)
    fit = any(settings.reestimate for settings in work.values())
    return cut(_fitted(network, kept, context) if fit else network, kept), kept


def _orders(network: Network, work: Mapping[str, Any], context: RewriteContext) -> dict[str, list[Curve]]:
    return {name: _order(network, name, settings, context) for name, settings in work.items()}


def _order(network: Network, name: str, settings: Any, context: RewriteContext) -> list[Curve]:
    """Order of a group's parts in full where no sample is needed for it, else by weights alone."""
    key = order_key(network, name, settings)
    known: list[Curve] | None = context.recall(key)
    if known is not None:
        return known
    readers: Mapping[str, list[Reader]] | None = {}
    if settings.criterion == RECONSTRUCTION:
        readers = _known_readers(network, groups_of(network)[name].classes, context)
    elif registry.find("criteria", settings.criterion).needs:
        readers = None
    if readers is not None:
        full: list[Curve] = context.remember(key, partial(order_of, network, name, settings, context, readers))
        return full
    quick: list[Curve] = context.remember(f"quick {key}", partial(_by_weights, network, name))
    return quick


def _by_weights(network: Network, name: str) -> list[Curve]:
    group = groups_of(network)[name]
    return eliminations(group, weight_readers(network, readers_among(network, group.classes.tolist())))


def _known_readers(
    network: Network, classes: np.ndarray, context: RewriteContext
) -> dict[str, list[Reader]] | None:  # fmt: skip
    """Readers of these classes where all of them are in memory."""
    names = readers_among(network, classes.tolist())
    found = {name: context.recall(readers_key(network, name)) for name in names}
    return None if any(known is None for known in found.values()) else found


def _fitted(network: Network, kept: Mapping[str, np.ndarray], context: RewriteContext) -> Network:
    """Network before its cut, whose layers make up for what they will lose, as far as moments are known."""
    groups = groups_of(network)
    gone = np.concatenate([groups[name].classes[~flags] for name, flags in kept.items()])
    readers = _known_readers(network, gone, context)
    if not readers:
        return network
    return network.with_nodes([
        _made_up(node, readers[node.name], frozenset(gone.tolist())) if node.name in readers else node
        for node in network.nodes
    ])  # fmt: skip


def _made_up(node: Node, readers: list[Reader], gone: frozenset[int]) -> Node:
    """Layer with the weights of its readers; transposed convolutions stay, as in the full form."""
    operator = node.operator
    if isinstance(operator, ConvTranspose):
        return node
    old: Tensor = operator.weight  # type: ignore[assignment]
    bias: Tensor | None = operator.bias  # type: ignore[assignment]
    new = [reader.without(gone) for reader in readers]
    if bias is not None and readers[0].mean is not None:
        shift = [(one.weight - w) @ one.mean for one, w in zip(readers, new, strict=True)]
        bias = bias + torch.from_numpy(np.concatenate(shift)).float()
    weight = torch.from_numpy(np.concatenate(new)).float().reshape(old.shape)
    return replace(node, operator=with_parameters(operator, weight, bias))
