"""The float network that a plan's rewrites make, with the encoder of its weights."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from studio.core.graph import Graph
from studio.core.plan import Calibration, Step
from studio.core.technique import REWRITES
from studio.engine.encode import Encoder
from studio.network.content import operator_key, weights_key
from studio.network.cost import describe
from studio.network.network import Network
from studio.techniques._rewrite import RewriteContext

if TYPE_CHECKING:
    from studio.engine.resolve import Resolved

KEPT_VARIANTS = 24
KEPT_VALUES = 256


@dataclass(frozen=True, eq=False)
class Variant:
    """A network with its graph and encoder; `origin`: the original's layer behind each weighted one."""

    key: str
    network: Network
    graph: Graph
    encoder: Encoder
    weight_keys: Mapping[str, str]
    origin: Mapping[str, str]

    def parts(self, layer: str) -> tuple[str, ...]:
        """Layers of this network that stem from a layer of the original, in order."""
        return tuple(name for name, source in self.origin.items() if source == layer)


def variant_of(network: Network, graph: Graph, original: Graph) -> Variant:
    """Variant of a network whose factors are named after the original's layers."""
    encoder = Encoder(network)
    keys = {n.name: operator_key(n.operator) for n in network.nodes if n.name in encoder.dense}
    origin = {name: name if name in original else name.rpartition("/")[0] for name in encoder.dense}
    return Variant(weights_key(network), network, graph, encoder, keys, origin)


class Rewriter:
    """Applies rewrites stage by stage; what was made is kept under the content key of all that led to it."""

    def __init__(
        self, base: Variant, scores: Callable[[str, str, Calibration], np.ndarray],
        batches: Callable[[Calibration], Sequence[Tensor]],
    ) -> None:  # fmt: skip
        self.base = base
        self._scores = scores
        self._batches = batches
        self._variants: OrderedDict[str, Variant] = OrderedDict()
        self._values: OrderedDict[str, Any] = OrderedDict()

    def variant(self, resolved: Resolved, calibration: Calibration) -> Variant:
        """Return the network after STRUCTURE, FACTOR and EQUALIZE; the base where nothing is rewritten."""
        found, text = self.base, self.base.key
        for stage in REWRITES:
            for technique, steps in _by_technique(resolved.rewrites.get(stage, {})).items():
                text += f"|{stage} {technique} {calibration} {[(n, s.identity) for n, s in steps.items()]}"
                key = hashlib.sha256(text.encode()).hexdigest()
                if key not in self._variants:
                    self._variants[key] = self._rewritten(found, steps, calibration)
                self._variants.move_to_end(key)
                found = self._variants[key]
        while len(self._variants) > KEPT_VARIANTS:
            self._variants.popitem(last=False)
        return found

    def _rewritten(self, before: Variant, steps: Mapping[str, Step], calibration: Calibration) -> Variant:
        context = RewriteContext(
            original=self.base.network,
            graph=before.graph,
            scores=lambda layer, criterion: self._scores(layer, criterion, calibration),
            batches=lambda: self._batches(calibration),
            remember=self._remember,
        )
        technique: Any = next(iter(steps.values())).found
        network = technique.rewrite(before.network, {name: step.values for name, step in steps.items()}, context)
        return variant_of(network, describe(network), self.base.graph)

    def _remember(self, key: str, compute: Callable[[], Any]) -> Any:
        if key not in self._values:
            self._values[key] = compute()
        self._values.move_to_end(key)
        while len(self._values) > KEPT_VALUES:
            self._values.popitem(last=False)
        return self._values[key]


def _by_technique(steps: Mapping[str, Step]) -> dict[str, dict[str, Step]]:
    found: dict[str, dict[str, Step]] = {}
    for name, step in steps.items():
        found.setdefault(str(step.technique), {})[name] = step
    return found


