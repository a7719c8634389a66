"""Work items -> encodings, each computed once."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from studio.core import registry
from studio.core.encoding import Dense, Encoding
from studio.core.state import steps_key
from studio.core.technique import EncodeContext, Stage
from studio.engine.resolve import LayerWork
from studio.network.network import Network

KEPT = 64_000_000
"""Weights kept encoded, for undo and for sliders that come back (about two bytes each)."""


class Encoder:
    """Encodings of a network's layers by content key; the float weights are never changed."""

    def __init__(self, network: Network, decided: Mapping[str, Mapping[str, Encoding]] | None = None) -> None:
        """`decided`: encodings that training made, by layer and `steps_key` of the steps they stand for."""
        self.decided = decided or {}
        self.dense: dict[str, Dense] = {
            node.name: Dense(node.operator.weight.detach().numpy())  # type: ignore[operator]
            for node in network.nodes
            if node.kind in ("conv", "conv_transpose", "linear")
        }
        self._cache: OrderedDict[str, Encoding] = OrderedDict()

    def encodings(
        self, work: Mapping[str, LayerWork], learned: Mapping[str, tuple[str, Encoding]] | None = None
    ) -> dict[str, Encoding]:  # fmt: skip
        """Encoding of every weighted layer; `Dense` where no step holds. `learned`: as for `encoding`."""
        return {name: self.encoding(one, (learned or {}).get(name)) for name, one in work.items()}

    def is_decided(self, work: LayerWork, place: int) -> bool:
        """True where training made the encoding after the step at `place`."""
        return steps_key(work.steps[: place + 1]) in self.decided.get(work.layer.name, {})

    def encoding(self, work: LayerWork, learned: tuple[str, Encoding] | None = None) -> Encoding:
        """Encoding of one layer after all its steps; `learned`: what stands for its GRID step, with a content key."""
        encoding: Encoding = self.dense[work.layer.name]
        decided = self.decided.get(work.layer.name, {})
        mark = ""
        for i, (step, peers, key) in enumerate(zip(work.steps, work.peers, work.keys, strict=True)):
            if learned is not None and step.stage == Stage.GRID:
                mark, encoding = learned
                continue
            key += mark
            if key not in self._cache:
                known = decided.get(steps_key(work.steps[: i + 1])) if decided else None
                context = EncodeContext(work.layer, self._weights(peers), self._scores(work.layer.name))
                self._cache[key] = known or step.found.encode(encoding, step.values, context)  # type: ignore[attr-defined]
            self._cache.move_to_end(key)
            encoding = self._cache[key]
        self._forget()
        return encoding

    def _forget(self) -> None:
        kept = sum(math.prod(encoding.shape) for encoding in self._cache.values())
        while kept > KEPT:
            kept -= math.prod(self._cache.popitem(last=False)[1].shape)

    def _weights(self, names: tuple[str, ...]) -> Mapping[str, np.ndarray]:
        return {name: self.dense[name].values for name in names}

    def _scores(self, name: str) -> Callable[[str], np.ndarray]:
        def scores(criterion: str) -> np.ndarray:
            found: np.ndarray = registry.find("criteria", criterion).weights(self.dense[name].values)
            return found

        return scores
