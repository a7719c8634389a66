"""The float network that a plan's rewrites make, with the encoder of its weights."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from studio.core.encoding import Encoding, unpack
from studio.core.errors import PlanError
from studio.core.graph import Graph
from studio.core.plan import Calibration, Step
from studio.core.state import State
from studio.core.technique import REWRITES, Stage
from studio.engine.cache import forget
from studio.engine.encode import Encoder
from studio.network.content import operator_key, weights_key
from studio.network.cost import describe
from studio.network.network import Network
from studio.techniques._rewrite import RewriteContext, Tick, quiet

if TYPE_CHECKING:
    from studio.engine.resolve import Resolved

KEPT_VARIANTS = 24
KEPT_VALUES = 256
NOTHING_KEPT: Mapping[str, np.ndarray] = {}


@dataclass(frozen=True, eq=False)
class Variant:
    """A network with its graph and encoder; `origin`: the original's layer behind each weighted one."""

    key: str
    network: Network
    graph: Graph
    encoder: Encoder
    weight_keys: Mapping[str, str]
    origin: Mapping[str, str]
    quick: bool = False  # a quick form of a rewrite stands in it

    def layer_bytes(self, name: str, encoding: Encoding, biased: bool) -> int:
        """Packed weights and bias of a layer; `biased`: it gets a bias even where the network has none."""
        layer = self.graph.layer(name)
        own = self.network.by_name[name].operator.bias is not None
        channels = encoding.shape[layer.channel_axis] * (layer.groups if layer.kind == "conv_transpose" else 1)
        return encoding.bits() // 8 + (4 * channels if own or biased else 0)

    def parts(self, layer: str) -> tuple[str, ...]:
        """Layers of this network that stem from a layer of the original, in order."""
        return tuple(name for name, source in self.origin.items() if source == layer)


@dataclass(frozen=True, eq=False)
class Sketch:
    """Quick form of a rewrite, and the channels that stay where it is a cut, bool (channels,) by channel group."""

    variant: Variant
    kept: Mapping[str, np.ndarray]


def variant_of(network: Network, graph: Graph, original: Graph, state: State | None = None) -> Variant:
    """Variant of a network whose factors are named after the original's layers; `state` as far as it fits."""
    decided = {} if state is None else {n: {k: unpack(c) for k, c in own.items()} for n, own in state.encodings.items()}
    encoder = Encoder(network, decided)
    mark = "" if state is None else state.id
    keys = {n.name: operator_key(n.operator) + mark for n in network.nodes if n.name in encoder.dense}
    origin = {name: name if name in original else name.rpartition("/")[0] for name in encoder.dense}
    return Variant(weights_key(network) + mark, network, graph, encoder, keys, origin)


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
        self._sketches: dict[str, Sketch] = {}  # by the key of what they stand for
        self._values: OrderedDict[str, Any] = OrderedDict()
        self.tick: Tick = quiet  # who hears how far the work is that runs now

    def variant(
        self, resolved: Resolved, calibration: Calibration, state: State | None = None, *, full: bool = True
    ) -> Variant:
        """Return the network after STRUCTURE, FACTOR and EQUALIZE; the base where nothing is rewritten.

        A `state` that was made for these rewrites gives its cuts, its tensors and its encodings. Unless the
        `full` form is wanted, a quick one may stand for a rewrite that is not there yet.
        """
        if state is None or not fits(state, resolved):
            return self._rewrite(resolved, calibration, {}, self.base.key, full)
        key = f"{rewrites_key(resolved)} {state.id}"
        if key not in self._variants:
            shape = self._rewrite(resolved, calibration, state.kept, self.base.key + state.id, True)
            network = with_tensors(shape.network, state.tensors)
            self._variants[key] = variant_of(network, shape.graph, self.base.graph, state)
        self._variants.move_to_end(key)
        return self._variants[key]

    def _rewrite(
        self, resolved: Resolved, calibration: Calibration, kept: Mapping[str, np.ndarray], text: str, full: bool
    ) -> Variant:
        found = self.base
        for stage in REWRITES:
            for technique, steps in _by_technique(resolved.rewrites.get(stage, {})).items():
                text += f"|{stage} {technique} {calibration} {[(n, s.identity) for n, s in steps.items()]}"
                key = hashlib.sha256(text.encode()).hexdigest()
                sketch = None if full or key in self._variants else self._sketch(key, found, steps, calibration)
                if sketch is not None:
                    found, text = sketch.variant, f"{text} quick"
                    continue
                if key not in self._variants:
                    made = self._rewritten(found, steps, calibration, kept)
                    self._variants[key] = replace(made, quick=found.quick)
                    self._sketches.pop(key, None)
                self._variants.move_to_end(key)
                found = self._variants[key]
        forget(self._variants, KEPT_VARIANTS)
        return found

    def _sketch(
        self, key: str, before: Variant, steps: Mapping[str, Step], calibration: Calibration
    ) -> Sketch | None:  # fmt: skip
        """Quick form of a rewrite, kept under its key; None where its technique has none that is quicker."""
        technique: Any = next(iter(steps.values())).found
        if key not in self._sketches and hasattr(technique, "sketch"):
            work = {name: step.values for name, step in steps.items()}
            found = technique.sketch(before.network, work, self.context(before, calibration))
            if found is not None:
                network, kept = found
                made = variant_of(network, describe(network), self.base.graph)
                self._sketches[key] = Sketch(replace(made, quick=True), kept)
                forget(self._sketches, KEPT_VARIANTS)
        return self._sketches.get(key)

    def _rewritten(
        self, before: Variant, steps: Mapping[str, Step], calibration: Calibration, kept: Mapping[str, np.ndarray]
    ) -> Variant:
        context = self.context(before, calibration, kept)
        technique: Any = next(iter(steps.values())).found
        network = technique.rewrite(before.network, {name: step.values for name, step in steps.items()}, context)
        return variant_of(network, describe(network), self.base.graph)

    def context(
        self, before: Variant, calibration: Calibration, kept: Mapping[str, np.ndarray] = NOTHING_KEPT
    ) -> RewriteContext:
        """What a technique that rewrites `before` may look at; `kept`: channels that training has decided."""
        return RewriteContext(
            original=self.base.network,
            graph=before.graph,
            scores=lambda layer, criterion: self._scores(layer, criterion, calibration),
            batches=lambda: self._batches(calibration),
            remember=lambda key, compute: self._remember(f"{calibration} {key}", compute),
            kept=kept,
            tick=self.tick,
            recall=lambda key: self._recall(f"{calibration} {key}"),
        )

    def kept(
        self, resolved: Resolved, calibration: Calibration, state: State | None = None, *, full: bool = True
    ) -> Mapping[str, np.ndarray]:
        """Channels that stay under a plan's cuts, bool (channels,) by channel group: a state's, as far as it fits.

        Those of the form that `variant` gives.
        """
        if state is not None and fits(state, resolved):
            return state.kept
        cuts = replace(resolved, rewrites={Stage.STRUCTURE: resolved.rewrites.get(Stage.STRUCTURE, {})})
        quick = None if full else self.variant(cuts, calibration, full=False)
        sketch = next((one for one in self._sketches.values() if one.variant is quick), None)
        if sketch is not None:
            return sketch.kept
        found: dict[str, np.ndarray] = {}
        for steps in _by_technique(cuts.rewrites[Stage.STRUCTURE]).values():
            technique: Any = next(iter(steps.values())).found
            work = {name: step.values for name, step in steps.items()}
            found |= technique.kept(self.base.network, work, self.context(self.base, calibration))
        return found

    def before(self, stage: Stage, resolved: Resolved, calibration: Calibration, *, full: bool = True) -> Variant:
        """Return the network that the rewrites of a stage get to see."""
        earlier = {one: steps for one, steps in resolved.rewrites.items() if one < stage}
        return self.variant(replace(resolved, rewrites=earlier), calibration, full=full)

    def _recall(self, key: str) -> Any:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def _remember(self, key: str, compute: Callable[[], Any]) -> Any:
        if key not in self._values:
            self._values[key] = compute()
        self._values.move_to_end(key)
        forget(self._values, KEPT_VALUES)
        return self._values[key]


def _by_technique(steps: Mapping[str, Step]) -> dict[str, dict[str, Step]]:
    found: dict[str, dict[str, Step]] = {}
    for name, step in steps.items():
        found.setdefault(str(step.technique), {})[name] = step
    return found


def rewrites_key(resolved: Resolved) -> str:
    """Key of all rewrites of a plan: what the cuts and tensors of a state were made for."""
    text = [(stage.name, [(n, s.identity) for n, s in steps.items()]) for stage, steps in resolved.rewrites.items()]
    return hashlib.sha256(repr(sorted(text)).encode()).hexdigest()[:32]


def fits(state: State, resolved: Resolved) -> bool:
    """True where a state's tensors are those of the network that these rewrites make."""
    return state.made_for.get("rewrites") == rewrites_key(resolved)


def with_tensors(network: Network, tensors: Mapping[str, np.ndarray]) -> Network:
    """Return the network with these tensors ("conv1.weight") in place of its own.

    Raises PlanError where a shape differs: the state belongs to another network.
    """
    nodes = []
    for node in network.nodes:
        own = {name: torch.from_numpy(tensors[f"{node.name}.{name}"]) for name in node.operator.state_dict()
               if f"{node.name}.{name}" in tensors}  # fmt: skip
        if own:
            operator = copy.deepcopy(node.operator)
            for name, tensor in own.items():
                if operator.state_dict()[name].shape != tensor.shape:
                    what = f"the training result has another shape for {node.name}.{name}."
                    raise PlanError(what, where="state", remedy="Train again with this plan.")
                operator.state_dict()[name].copy_(tensor)
            node = replace(node, operator=operator)
        nodes.append(node)
    return network.with_nodes(nodes)
