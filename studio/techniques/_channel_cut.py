"""From the settings of channel groups to the network without the channels that go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from studio.core.errors import DataError
from studio.criteria import group_score
from studio.network.channels import channels_of
from studio.network.content import weights_key
from studio.network.cutting import cut, remaining
from studio.network.groups import ChannelGroup, groups_of
from studio.network.network import Network
from studio.techniques._channel_choice import Part, cheapest, kept_of, share_of_each
from studio.techniques._readers import Curve, Reader, elimination, readers_of, reading
from studio.techniques._reestimate import reestimate
from studio.techniques._rewrite import RewriteContext
from studio.techniques.prune_channels import RECONSTRUCTION, unfitted, unscored

CurvesOf = Callable[[Network, Mapping[str, Any], RewriteContext], Mapping[str, Sequence[Curve]]]


def rewritten(network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
    """Return the network that is cut, and fitted again where the settings say so.

    Channels that training has decided are cut as they are; its weights take the place of fitted ones.
    """
    decided = all(name in context.kept for name in work)
    kept = {name: context.kept[name] for name in work} if decided else kept_channels(network, work, context)
    return cut(network, kept) if decided else cut_and_fitted(network, kept, work, context)


def cut_and_fitted(
    network: Network, kept: Mapping[str, np.ndarray], work: Mapping[str, Any], context: RewriteContext
) -> Network:  # fmt: skip
    """Return the network that is cut, and fitted again where the settings say so."""
    found = cut(network, kept)
    if found is network or not any(settings.reestimate for settings in work.values()):
        return found
    samples = _samples(context, unfitted())
    return reestimate(network, found, remaining(network, kept), samples, tick=context.tick)


def kept_channels(
    network: Network, work: Mapping[str, Any], context: RewriteContext, curves: CurvesOf | None = None
) -> Mapping[str, np.ndarray]:  # fmt: skip
    """Flags of the channels that stay, by group; `curves`: what gives the orders in which they go."""
    alone: list[Part] = []
    together: dict[str, list[Part]] = {}
    for name, own in (curves or orders)(network, work, context).items():
        settings = work[name]
        parts = _parts(groups_of(network)[name], own, settings)
        if settings.scope == "global":
            together.setdefault(settings.model_dump_json(), []).extend(parts)
        else:
            alone += parts
    kept = dict(kept_of(alone, share_of_each(alone)))
    for parts in together.values():
        kept |= kept_of(parts, cheapest(network, context.graph, parts, parts[0].settings.amount))
    return kept


def kept_after(
    network: Network, gone: Mapping[str, Sequence[int]], work: Mapping[str, Any], context: RewriteContext
) -> Mapping[str, np.ndarray]:  # fmt: skip
    """Flags of the channels that stay, by group, when so many of each part of it go, the least important first."""
    parts: list[Part] = []
    counts: list[int] = []
    found = orders(network, {name: work[name] for name in gone}, context)
    for name, own in gone.items():
        parts += _parts(groups_of(network)[name], found[name], work[name])
        counts += list(own)
    return kept_of(parts, counts)


def _parts(group: ChannelGroup, curves: Sequence[Curve], settings: Any) -> list[Part]:
    return [Part(group, places, curve, settings) for places, curve in zip(group.parts, curves, strict=True)]


def orders(network: Network, work: Mapping[str, Any], context: RewriteContext) -> dict[str, list[Curve]]:
    """Order in which the channels of each group go, one for each of its parts."""
    found = {name: context.recall(order_key(network, name, settings)) for name, settings in work.items()}
    unknown = [name for name, known in found.items() if known is None and work[name].criterion == RECONSTRUCTION]
    readers = _readers(network, unknown, context)
    for i, (name, settings) in enumerate(work.items()):
        context.tick("Choosing channels", i, len(work))
        if found[name] is None:
            compute = partial(order_of, network, name, settings, context, readers)
            found[name] = context.remember(order_key(network, name, settings), compute)
    return found


def order_key(network: Network, group: str, settings: Any) -> str:
    """Content key of the orders of a group."""
    return f"channel order {weights_key(network)} {group} {settings.criterion}"


def order_of(
    network: Network, name: str, settings: Any, context: RewriteContext, readers: Mapping[str, Sequence[Reader]]
) -> list[Curve]:  # fmt: skip
    """Order of the parts of a group, by its criterion; `readers`: at least the group's."""
    group = groups_of(network)[name]
    if settings.criterion != RECONSTRUCTION:
        return _by_score(network, group, settings.criterion, context)
    return eliminations(group, readers)


def eliminations(group: ChannelGroup, readers: Mapping[str, Sequence[Reader]]) -> list[Curve]:
    """Order of each part by what its readers miss."""
    everyone = [reader for own in readers.values() for reader in own]
    return [elimination(group.classes[part].tolist(), everyone) for part in group.parts]


def readers_key(network: Network, layer: str) -> str:
    """Content key of the readers of a layer."""
    return f"channel readers {weights_key(network)} {layer}"


def _readers(network: Network, groups: Sequence[str], context: RewriteContext) -> Mapping[str, list[Reader]]:
    """Layers that read these groups; those that are not in memory get their moments in one pass."""
    names = readers_among(network, [one for name in groups for one in groups_of(network)[name].classes.tolist()])
    found = {name: context.recall(readers_key(network, name)) for name in names}
    missing = [name for name, known in found.items() if known is None]
    if missing:
        found |= readers_of(network, missing, _samples(context, unscored(RECONSTRUCTION)), context.tick)
    return {name: context.remember(readers_key(network, name), partial(found.__getitem__, name)) for name in names}


def readers_among(network: Network, classes: Sequence[int]) -> list[str]:
    """Layers that read any of these classes."""
    return [name for name, read in reading(network).items() if not read.isdisjoint(classes)]


def _by_score(network: Network, group: ChannelGroup, criterion: str, context: RewriteContext) -> list[Curve]:
    """Order by rising score; the cost of a channel is its share of the sum of all scores of the group."""
    scores = group_scores(network, group, {name: context.scores(name, criterion) for name in group.layers})
    curves = []
    for part in group.parts:
        order = part[np.argsort(scores[part], kind="stable")][:-1]
        curves.append(Curve(group.classes[order], np.cumsum(scores[order]) / scores.sum()))
    return curves


def group_scores(network: Network, group: ChannelGroup, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Score of each class of a group (n,): mean over the layers that it lies in, each normalised to mean 1.

    `scores`: (channels,) by layer. Several channels of one layer count by their mean.
    """
    order = np.argsort(group.classes)
    total, layers = np.zeros(len(order)), np.zeros(len(order))
    for name, own in scores.items():
        places = order[np.searchsorted(group.classes, channels_of(network).made[name], sorter=order)]
        channels = np.bincount(places, minlength=len(order))
        total += np.bincount(places, group_score([own]), len(order)) / np.maximum(channels, 1)
        layers += channels > 0
    found: np.ndarray = total / np.maximum(layers, 1)
    return found


def _samples(context: RewriteContext, missing: DataError) -> Sequence[Tensor]:
    try:
        return context.batches()
    except DataError as error:
        raise DataError(f"{missing.what[:-1]}: {error.what}", remedy=missing.remedy) from None
