"""From a plan to its encodings, its integer program, its cost and its measured result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import RLock

import numpy as np
import torch

from studio.core import registry
from studio.core.encoding import Encoding
from studio.core.errors import Cancelled, DataError, PlanError, Refused
from studio.core.graph import Graph, Layer
from studio.core.plan import Calibration, Plan, Step
from studio.core.result import Cost, Result
from studio.core.state import State, steps_key
from studio.core.technique import Stage
from studio.criteria import ChannelStatistics, global_threshold
from studio.data import Dataset
from studio.engine.cache import forget
from studio.engine.evaluator import CHUNK, Evaluator
from studio.engine.gradients import channel_effects
from studio.engine.ranges import tensor_range
from studio.engine.resolve import LayerWork, Resolved, Skipped, encode_work, resolve
from studio.engine.score import Metric, choose, score
from studio.engine.sensitivity import layer_drop
from studio.engine.statistics import Statistics, collect
from studio.engine.tuning import Tuning
from studio.engine.variant import Rewriter, Variant, fits, variant_of
from studio.lowering import lower
from studio.lowering.cost import peak_ram
from studio.lowering.program import Program
from studio.network.network import Network
from studio.techniques._ranks import Spectrum
from studio.techniques._rewrite import RewriteContext

Progress = Callable[[str, int, int], None]
"""`progress(title, done, total)`; called from the thread that works."""
Ranges = dict[str, tuple[float, float]]
FLOAT = Plan()
"""The empty plan: every layer in float."""
KEPT_PROGRAMS = 64


@dataclass(frozen=True)
class CalibrationInfo:
    """Where ranges came from, to be said everywhere."""

    source: str  # train, calibration or evaluation: a role
    samples: int
    same_as_evaluation: bool


class Engine:
    """All that is computed for one network and its data; every call may come from any thread."""

    def __init__(self, network: Network, graph: Graph, sources: Mapping[str, Dataset]) -> None:
        """`network`: folded. `sources`: data sets by role ("evaluation", "calibration", "train")."""
        self.network = network
        self.graph = graph
        self.sources = dict(sources)
        self.base = variant_of(network, graph, graph)
        self.evaluator = Evaluator(sources["evaluation"]) if "evaluation" in sources else None
        self.quick_first = False  # rewrites that take long are in a quick form until `prepare`
        self._rewriter = Rewriter(self.base, self._scores, self.batches)
        self._resolved: dict[str, Resolved] = {}
        self._states: dict[str, State] = {}
        self._statistics: dict[tuple[str, Calibration], Statistics] = {}
        self._gradients: dict[Calibration, Mapping[str, np.ndarray]] = {}
        self._ranges: dict[tuple[str, Calibration, str], Ranges] = {}
        self._programs: dict[str, Program] = {}
        self._costs: dict[str, tuple[str, Cost]] = {}  # by plan key, with the form that it is of
        self._lock = RLock()
        self._calibrating = RLock()
        self._tuning = Tuning(self, self._lock)

    # -- plan -> encodings -> program -------------------------------------------------------------

    def resolve(self, plan: Plan) -> Resolved:
        """Steps of a plan; raises PlanError or Refused."""
        found = self._resolved.get(plan.key)
        if found is None:
            found = resolve(plan, self.graph)
            self._resolved = {**dict(list(self._resolved.items())[-KEPT_PROGRAMS:]), plan.key: found}
        return found

    def check(self, plan: Plan) -> None:
        """Raise PlanError, Refused or DataError for a plan that can never be computed here."""
        resolved = self.resolve(plan)
        self.state(plan)
        for group, step in resolved.rewrites.get(Stage.STRUCTURE, {}).items():
            missing = None if self.sources else step.found.missing(step.values)  # type: ignore[attr-defined]
            if missing is not None:
                raise DataError(missing.what, where=f"{group}: {step.technique}", remedy=missing.remedy)

    def variant(
        self, plan: Plan, progress: Progress | None = None, stop: Callable[[], bool] | None = None, full: bool = False
    ) -> Variant:
        """Return the float network that the plan's rewrites make; the original itself where there are none.

        With `quick_first`, rewrites are in the form that is there, unless the `full` one is asked for. Raises
        DataError where a rewrite needs samples and there are none, Cancelled when `stop()` says so.
        """

        def tick(title: str, done: int, total: int) -> None:
            if stop and stop():
                raise Cancelled
            if progress:
                progress(title, done, total)

        with self._lock:
            before, self._rewriter.tick = self._rewriter.tick, tick
            try:
                full = full or not self.quick_first
                return self._rewriter.variant(self.resolve(plan), plan.calibration, self.state(plan), full=full)
            finally:
                self._rewriter.tick = before

    def spectrum(self, plan: Plan, layer: str) -> Spectrum:
        """Singular values of a layer, cut by its low-rank step (by that of default settings where it has none).

        Raises Refused with the reason where the layer cannot be factored.
        """
        with self._lock:
            resolved = self.resolve(plan)
            before = self._rewriter.before(Stage.FACTOR, resolved, plan.calibration, full=not self.quick_first)
            step = resolved.rewrites.get(Stage.FACTOR, {}).get(layer) or Step("low_rank")
            found, technique = before.graph.layer(layer), registry.find("techniques", "low_rank")
            reason = technique.refuses(found, step.values)
            if reason is not None:
                raise Refused(reason, where=layer)
            context = self._rewriter.context(before, plan.calibration)
            spectrum: Spectrum = technique.spectrum(before.network, layer, step.values, context)
            return spectrum

    def kept(self, plan: Plan) -> Mapping[str, np.ndarray]:
        """Channels that stay under a plan's cuts, bool (channels,) by channel group; errors as of `variant`."""
        with self._lock:
            full = not self.quick_first
            return self._rewriter.kept(self.resolve(plan), plan.calibration, self.state(plan), full=full)

    def rewrite_context(self, calibration: Calibration) -> RewriteContext:
        """What a technique that rewrites this network may look at."""
        return self._rewriter.context(self.base, calibration)

    def add_state(self, state: State) -> str:
        """Make a training result known; plans name it by the id that is returned."""
        self._states[state.id] = state
        return state.id

    def state(self, plan: Plan) -> State | None:
        """Training result of a plan, or None; raises PlanError for one that was not added."""
        if plan.state is None:
            return None
        if plan.state not in self._states:
            raise PlanError(f"the training result {plan.state[:15]} is missing.", remedy="Train again.")
        return self._states[plan.state]

    def unused(self, plan: Plan) -> tuple[str, ...]:
        """Layers for which the plan's training result decided something that no longer fits their steps."""
        state = self.state(plan)
        if state is None:
            return ()
        if not fits(state, self.resolve(plan)):
            return tuple(layer.name for layer in self.graph.weighted)
        keys = {n: {steps_key(w.steps[:i]) for i in range(len(w.steps) + 1)} for n, w in self.work(plan).items()}
        return tuple(name for name, own in state.encodings.items() if not keys.get(name, set()).intersection(own))

    def work(self, plan: Plan) -> Mapping[str, LayerWork]:
        """Encode steps of every weighted layer of the plan's variant."""
        return self._work(plan)[0]

    def skipped(self, plan: Plan) -> tuple[Skipped, ...]:
        """Steps that layers could not take: defaults, and what rewritten layers could not inherit."""
        return (*self.resolve(plan).skipped, *self._work(plan)[1])

    def _work(self, plan: Plan) -> tuple[Mapping[str, LayerWork], tuple[Skipped, ...]]:
        variant = self.variant(plan)
        return encode_work(plan, self.resolve(plan), variant.graph, variant.origin, variant.weight_keys)

    def encodings(self, plan: Plan) -> dict[str, Encoding]:
        """Encoding of every weighted layer of the plan's variant."""
        with self._lock:
            learned = {name: (key, one.encoding) for name, (key, one) in self._tuning.of(plan).learned.items()}
            return self.variant(plan).encoder.encodings(self.work(plan), learned)

    def pending(self, plan: Plan) -> tuple[str, ...]:
        """Layers whose learned rounding is not there yet: until `prepare` the quick form, nearest, stands for it."""
        return self._tuning.of(plan).pending

    def prepare(self, plan: Plan, progress: Progress | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Rewrite, and learn what is pending, layer by layer; minutes. Raises Cancelled, DataError without samples."""
        self.variant(plan, progress, stop, full=True)
        self._tuning.prepare(plan, progress, stop)

    def tuned(self, plan: Plan) -> Network:
        """Network of the plan's variant, with the biases that go with its rounded weights."""
        return self._tuning.network(plan)

    def quick(self, plan: Plan) -> str:
        """What the form that is there of a plan lacks, in words; empty where it is the full one."""
        fit = "quick fit" if self.variant(plan).quick else ""
        rounding = "nearest, not learned" if self.pending(plan) else ""
        return ", ".join(filter(None, (fit, rounding)))

    def _form(self, plan: Plan) -> str:
        """Key of a plan in the form that is there: quick or full."""
        return f"{plan.key} {self.variant(plan).key} {self._tuning.of(plan).form}"

    def program(self, plan: Plan) -> Program:
        """Return the integer program of a plan; needs calibration data as soon as a tensor is int8."""
        key = self._form(plan)
        if (found := self._programs.get(key)) is None:
            ranges = self.ranges(plan) | self._wide_ranges(plan) if self.needs_ranges(plan) else {}
            with self._lock:
                self._programs[key] = found = self._lower(plan, ranges, self.tuned(plan))
                forget(self._programs, KEPT_PROGRAMS)
        return found

    def _lower(self, plan: Plan, ranges: Ranges, network: Network) -> Program:
        return lower(network, self.encodings(plan), ranges, self._bits(plan, self.variant(plan)))

    def _bits(self, plan: Plan, variant: Variant) -> dict[str, int | None]:
        """Explicit bits of every tensor that the plan names; a factored layer's are those of its last factor."""
        everywhere = {layer.name: plan.activations.bits for layer in variant.graph.layers}
        last = {origin: name for name, origin in variant.origin.items()}
        own = {last.get(name, name): bits for name, bits in plan.activations.layers.items()}
        return {**(everywhere if plan.activations.bits else {}), **own}

    def needs_ranges(self, plan: Plan) -> bool:
        """True where a layer gets a GRID step, for its tensors become int8, and where a tensor has 16 bits."""
        wide = 16 in (plan.activations.bits, *plan.activations.layers.values())
        return wide or any(s.stage.name == "GRID" for w in self.work(plan).values() for s in w.steps)

    # -- calibration ------------------------------------------------------------------------------

    def calibration(self, wanted: Calibration) -> tuple[Dataset, CalibrationInfo]:
        """Data set that ranges come from: the wanted role, else calibration, train, evaluation data."""
        for role in (wanted.source, "calibration", "train", "evaluation"):
            if role in self.sources:
                found, evaluation = self.sources[role], self.sources.get("evaluation")
                same = evaluation is not None and found.source == evaluation.source
                return found, CalibrationInfo(role, min(wanted.samples, found.count), same)
        remedy = "Give data with --data, --calibration or --train-data (in the app: Data)."
        raise DataError("there is no data to calibrate with.", remedy=remedy)

    def statistics(
        self, wanted: Calibration, progress: Progress | None = None, variant: Variant | None = None
    ) -> Statistics:
        """One pass over the calibration samples through the original network or a variant; kept."""
        variant = variant or self.base
        with self._calibrating:
            key = (variant.key, wanted)
            if key not in self._statistics:
                dataset, info = self.calibration(wanted)
                indices = dataset.order(wanted.seed, info.samples)
                report = titled(progress, "Calibrating")
                self._statistics[key] = collect(variant.network, dataset, indices, progress=report)
                forget(self._statistics, KEPT_PROGRAMS)
            return self._statistics[key]

    def ranges(self, plan: Plan, progress: Progress | None = None) -> Ranges:
        """Range of every tensor of the plan's float network under its calibration rule; kept."""
        rule, variant = plan.activations.calibration, self.variant(plan)
        with self._calibrating:
            key = (variant.key, plan.calibration, rule)
            if key not in self._ranges:
                tensors = self.statistics(plan.calibration, progress, variant).tensors
                self._ranges[key] = {n: tensor_range(t, rule) for n, t in tensors.items()} | self._learned(plan)
                forget(self._ranges, KEPT_PROGRAMS)
            return self._ranges[key]

    def _wide_ranges(self, plan: Plan) -> Ranges:
        """Whole ranges of tensors of 16 bits: these have steps enough, clipping would only lose."""
        variant = self.variant(plan)
        wide = [name for name, bits in self._bits(plan, variant).items() if bits == 16]
        tensors = self.statistics(plan.calibration, None, variant).tensors if wide else {}
        return {name: tensor_range(tensors[name], "min_max") for name in wide}

    def _learned(self, plan: Plan) -> Ranges:
        """Ranges that training has learned for the plan's tensors."""
        state = self.state(plan)
        return dict(state.ranges) if state is not None and fits(state, self.resolve(plan)) else {}

    def batches(self, wanted: Calibration) -> list[torch.Tensor]:
        """Calibration samples of the network's input in batches, in the order of `statistics`."""
        dataset, info = self.calibration(wanted)
        indices = dataset.order(wanted.seed, info.samples)
        return [torch.from_numpy(dataset.batch(indices[i : i + CHUNK])) for i in range(0, len(indices), CHUNK)]

    def importance(self, layer: Layer, criterion: str, calibration: Calibration) -> np.ndarray:
        """Scores (channels,) of a layer by a registered criterion, higher = keep; raises Refused with the reason."""
        found = registry.find("criteria", criterion)
        reason = found.refuses(layer)
        if reason is not None:
            raise Refused(reason, where=layer.name)
        weight = np.moveaxis(self.base.encoder.dense[layer.name].values, layer.channel_axis, 0)
        if "labels" in found.needs:
            statistics = ChannelStatistics(effect=self._effects(calibration)[layer.name])
        elif "activations" in found.needs:
            statistics = self.statistics(calibration).channels(layer.name)
        elif "measurement" in found.needs:
            statistics = ChannelStatistics(drop=layer_drop(self, layer.name))
        else:
            statistics = ChannelStatistics(threshold=self._median)
        scores: np.ndarray = found.channels(weight, statistics)
        return scores

    def _effects(self, wanted: Calibration) -> Mapping[str, np.ndarray]:
        """What each layer's channels do to the loss on the calibration samples; kept."""
        with self._calibrating:
            if wanted not in self._gradients:
                dataset, info = self.calibration(wanted)
                indices = dataset.order(wanted.seed, info.samples)
                self._gradients[wanted] = channel_effects(self.network, dataset, indices)
            return self._gradients[wanted]

    def _scores(self, layer: str, criterion: str, calibration: Calibration) -> np.ndarray:
        return self.importance(self.graph.layer(layer), criterion, calibration)

    @cached_property
    def _median(self) -> float:
        return global_threshold(dense.values for dense in self.base.encoder.dense.values())

    # -- cost and measurement ---------------------------------------------------------------------

    def cost(self, plan: Plan) -> Cost:
        """Exact bytes, peak RAM and MACs; needs no data."""
        form, known = self._form(plan), self._costs.get(plan.key)
        if known is None or known[0] != form:
            self._costs[plan.key] = known = (form, self._cost(plan))
        return known[1]

    def _cost(self, plan: Plan) -> Cost:
        variant = self.variant(plan)
        tuned = self._tuning.of(plan).biased
        rows = dict.fromkeys((layer.name for layer in self.graph.weighted), 0)
        for name, encoding in self.encodings(plan).items():
            rows[variant.origin[name]] += variant.layer_bytes(name, encoding, name in tuned)
        # Bytes and RAM do not depend on ranges, so the cost is there before any data was run.
        ranges: Ranges = {layer.name: (-1.0, 1.0) for layer in variant.graph.layers}
        ram = peak_ram(self._lower(plan, ranges, variant.network))
        return Cost(sum(rows.values()), ram, variant.graph.macs, tuple(rows.items()))

    def known_cost(self, plan: Plan) -> Cost | None:
        """Cost of a plan where it was computed already; never computes, never waits."""
        known = self._costs.get(plan.key)
        return None if known is None else known[1]

    @property
    def metric(self) -> Metric:
        """Metric of this network on this data."""
        shapes = [self.graph.layer(name).output_shape for name in self.graph.outputs]
        labels = self.evaluator.dataset.labels if self.evaluator else None
        return choose(labels, shapes, self.network.input_shape)

    def outputs(
        self, plan: Plan, chunks: int | None = None, *, target: str | None = None, focus: str | None = None,
        stop: Callable[[], bool] | None = None, progress: Progress | None = None,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        """Outputs of the plan's program in the evaluator's order; all chunks by default. Raises Cancelled."""
        evaluator = self._evaluator()
        report = titled(progress, "Running the preview")
        chunks = evaluator.chunks if chunks is None else chunks
        return evaluator.outputs(self.program(plan), chunks, target=target, focus=focus, stop=stop, progress=report)

    def measure(
        self, plan: Plan, chunks: int | None = None, *, target: str | None = None, focus: str | None = None,
        stop: Callable[[], bool] | None = None, progress: Progress | None = None,
    ) -> Result:  # fmt: skip
        """Measure a plan on the first `chunks` chunks (all by default). Raises Cancelled."""
        evaluator, quick = self._evaluator(), self.quick(plan)
        chunks = evaluator.chunks if chunks is None else min(chunks, evaluator.chunks)
        found = self.outputs(plan, chunks, target=target, focus=focus, stop=stop, progress=progress)
        reference = self.outputs(FLOAT, chunks, stop=stop)
        labels = evaluator.dataset.labels
        here = None if labels is None else labels[evaluator.indices(chunks)]
        s = score(self.metric, found, reference, here)
        total = evaluator.samples(evaluator.chunks)
        return Result(
            plan.key, "measured", self.metric, s.value, evaluator.samples(chunks), total, s.interval, s.delta,
            s.delta_interval, self.cost(plan), quick=quick,
        )  # fmt: skip

    def _evaluator(self) -> Evaluator:
        if self.evaluator is None:
            remedy = "Give evaluation data with --data (in the app: Data)."
            raise DataError("accuracy needs samples, and there is no data.", remedy=remedy)
        return self.evaluator


def titled(progress: Progress | None, title: str) -> Callable[[int, int], None] | None:
    """Return `report(done, total)` that passes on under a title."""
    if progress is None:
        return None
    return lambda done, total: progress(title, done, total)
