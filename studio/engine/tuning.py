"""What the engine finds out beyond single layers' weights: learned roundings, and biases that go with rounded weights.

Learned rounding takes a minute or two, so it is kept by content: in memory, and in the user's folder. What is
not there yet is *pending*, and the quick form stands for it: nearest rounding with corrected biases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from studio.core.plan import Calibration, Plan
from studio.core.technique import Stage
from studio.engine.biases import corrected_bias, input_means
from studio.engine.learn import ROWS, STEPS, Learned, learn_rounding
from studio.engine.resolve import LayerWork
from studio.engine.store import LearnedStore
from studio.engine.variant import Variant
from studio.network.content import operator_key
from studio.network.network import Network
from studio.network.parameters import with_biases

if TYPE_CHECKING:
    from studio.engine.engine import Engine, Progress

VERSION = "3"
"""Part of every key: another way to learn gives other results."""
SAMPLES = 1000
"""Calibration samples that rounding is learned from where there are so many, whatever the plan takes for ranges."""
MEMORY = 1 << 30
"""Most bytes of activations held while learning; large pictures are fewer then."""
KEPT_NETWORKS = 32


@dataclass(frozen=True)
class Tuned:
    """What holds for a plan now. `pending`: layers whose learned rounding is not there yet."""

    learned: Mapping[str, tuple[str, Learned]] = field(default_factory=dict)  # layer -> content key and result
    pending: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()  # layers whose bias is corrected by means
    keys: Mapping[str, str] = field(default_factory=dict)  # of all learned layers, there or not

    @property
    def biased(self) -> frozenset[str]:
        """Layers that have a bias of their own in this plan."""
        return frozenset((*self.learned, *self.corrected))

    @property
    def form(self) -> str:
        """Text that differs where what is pending does."""
        return " ".join(self.pending)


NOTHING = Tuned()


class Tuning:
    """Learned roundings and tuned biases of one engine's plans."""

    def __init__(self, engine: Engine, lock: RLock) -> None:
        """`lock`: the engine's, under which encodings are made."""
        self._engine, self._lock = engine, lock
        self.store = LearnedStore()
        self._networks: dict[tuple[str, ...], Network] = {}

    def of(self, plan: Plan) -> Tuned:
        """What is there for a plan; needs no data."""
        with self._lock:
            work, variant = self._engine.work(plan), self._engine.variant(plan)
            places = {name: i for name, one in work.items() if (i := _grid_step(one, variant)) is not None}
            learn = {name: i for name, i in places.items() if _setting(work[name], i, "rounding") == "learned"}
            corrected = [n for n, i in places.items() if n in learn or _setting(work[n], i, "bias_correction")]
            if not corrected:
                return NOTHING
            if not learn or not self._engine.sources:
                return Tuned(pending=tuple(learn), corrected=tuple(corrected))
            keys = learned_keys(variant, work, learn, self._source(plan.calibration, variant))
            found: dict[str, tuple[str, Learned]] = {}
            for name, key in keys.items():
                known = self.store.get(key, partial(variant.encoder.encoding, _upto(work[name], places[name])))
                found |= {} if known is None else {name: (key, known)}
            pending = tuple(name for name in learn if name not in found)
            return Tuned(found, pending, tuple(n for n in corrected if n not in found), keys)

    def network(self, plan: Plan) -> Network:
        """Network of the plan's variant with its tuned biases; needs calibration data where there are any."""
        with self._lock:
            tuned, variant, work = self.of(plan), self._engine.variant(plan), self._engine.work(plan)
            keys = {name: key for name, (key, _) in tuned.learned.items()}
            keys |= {n: f"{plan.calibration} {work[n].keys[-1]}" for n in tuned.corrected}
            if not keys:
                return variant.network
            whole = (variant.key, *(f"{name} {keys[name]}" for name in sorted(keys)))
            if whole not in self._networks:
                found = {name: self._corrected(plan, variant, work[name]) for name in tuned.corrected}
                biases = {name: bias for name, bias in found.items() if bias is not None}
                biases |= {name: known.bias for name, (_, known) in tuned.learned.items()}
                self._networks[whole] = with_biases(variant.network, biases)
                while len(self._networks) > KEPT_NETWORKS:
                    self._networks.pop(next(iter(self._networks)))
            return self._networks[whole]

    def _corrected(self, plan: Plan, variant: Variant, work: LayerWork) -> np.ndarray | None:
        statistics = self._engine.statistics(plan.calibration, variant=variant)
        mean = input_means(variant.network, work.layer, statistics)
        operator = variant.network.by_name[work.layer.name].operator
        return None if mean is None else corrected_bias(operator, variant.encoder.encoding(work), mean)

    def prepare(self, plan: Plan, progress: Progress | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Learn what is pending; what was learned before a cancellation stays. Raises Cancelled or DataError."""
        with self._lock:
            tuned, variant, work = self.of(plan), self._engine.variant(plan), self._engine.work(plan)
            if not tuned.pending:
                return
            ends = {n: _grid_step(w, variant) if n in tuned.keys else None for n, w in work.items()}
            encodings = {n: variant.encoder.encoding(_upto(w, ends[n])) for n, w in work.items()}
            samples = self._engine.batches(self._wanted(plan.calibration, variant))
            biased = self.network(plan)
            others = [n for n in tuned.corrected if n not in tuned.keys]
            biases = {n: bias for n in others if (bias := _bias(biased, n)) is not None}
        learn_rounding(
            variant.network, encodings, list(tuned.keys), samples, biases=biases, stop=stop,
            known={name: known for name, (_, known) in tuned.learned.items()},
            found=lambda name, learned: self.store.put(tuned.keys[name], learned),
            progress=None if progress is None else lambda name, done, total: progress(
                f"Learning the rounding of {name}", done, total
            ),
        )  # fmt: skip

    def _wanted(self, calibration: Calibration, variant: Variant) -> Calibration:
        """At least `SAMPLES`, as far as memory allows: what a layer reads and writes is held twice."""
        held = max(4 * sum(map(math.prod, n.input_shapes)) + n.activation_bytes for n in variant.graph.layers)
        most = MEMORY // max(1, 2 * held)
        return replace(calibration, samples=max(1, min(max(SAMPLES, calibration.samples), most)))

    def _source(self, calibration: Calibration, variant: Variant) -> str:
        dataset, info = self._engine.calibration(self._wanted(calibration, variant))
        return f"{dataset.content_id} {info.samples} {calibration.seed}"


def learned_keys(
    variant: Variant, work: Mapping[str, LayerWork], learn: Mapping[str, int], source: str
) -> dict[str, str]:  # fmt: skip
    """Content key of each learned layer; `learn`: the place of its GRID step, `source`: the samples.

    It is over all that the result depends on: the weights and steps of the layer and of all layers that its
    input comes from, what computes between them, the activation behind it, the samples and how it is learned.
    """
    keys: dict[str, str] = {}
    marks: dict[str, str] = {}
    for node in variant.network.nodes:
        before = [marks[name] for name in node.inputs] or [source if node.kind == "input" else ""]
        own = operator_key(node.operator)
        if node.name in work:
            one = work[node.name]
            own = one.keys[-1] if one.keys else variant.weight_keys[node.name]
        if node.name in learn:
            readers = [operator_key(reader.operator) for reader in variant.network.consumers(node.name)]
            grid = work[node.name].keys[learn[node.name]]
            keys[node.name] = own = _digest(VERSION, STEPS, ROWS, grid, *before, *readers)
        marks[node.name] = _digest(own, *before)
    return keys


def _digest(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _grid_step(work: LayerWork, variant: Variant) -> int | None:
    """Place of the step that puts weights on a grid; None without one, and where training decided the encoding."""
    for i, step in enumerate(work.steps):
        if step.stage == Stage.GRID:
            return None if variant.encoder.is_decided(work, i) else i
    return None


def _setting(work: LayerWork, place: int, name: str) -> object:
    """Setting of a GRID step; None where its technique has no such one."""
    return getattr(work.steps[place].values, name, None)


def _upto(work: LayerWork, place: int | None) -> LayerWork:
    """Work up to and with the step at `place`."""
    end = len(work.steps) if place is None else place + 1
    return replace(work, steps=work.steps[:end], peers=work.peers[:end], keys=work.keys[:end])


def _bias(network: Network, name: str) -> np.ndarray | None:
    bias: Tensor | None = network.by_name[name].operator.bias  # type: ignore[assignment]
    return None if bias is None else bias.detach().numpy()
