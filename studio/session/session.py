"""The session: what is open, the plan and its history, what was measured, what runs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from psygnal import Signal

from studio.core import states
from studio.core.errors import Cancelled, StudioError
from studio.core.graph import Graph
from studio.core.jobspec import JobSpec
from studio.core.opened import Opened
from studio.core.plan import Plan, Step, export_options
from studio.core.result import Cost, Result
from studio.core.technique import Stage
from studio.data import Dataset
from studio.engine.engine import FLOAT, CalibrationInfo, Engine
from studio.engine.preview import FIRST, PreviewLane
from studio.engine.resolve import canonical, check_model, is_factor, with_step
from studio.engine.sensitivity import CASES, SensitivityTable, estimate, known_table
from studio.jobs._process import JobProcess
from studio.network.network import Network
from studio.session import autosave, background
from studio.session.doubt import doubt
from studio.session.events import Effect, Measured, Notice, Progress
from studio.session.history import History
from studio.session.jobs import Jobs
from studio.session.layer_view import LayerView

PROGRESS_S = 0.1
OFF = {
    Stage.STRUCTURE: "all channels", Stage.FACTOR: "not factored", Stage.EQUALIZE: "not equalized",
    Stage.SPARSE: "not pruned", Stage.GRID: "in float", Stage.CODE: "not coded", Stage.KERNEL: "plain convolution",
}  # fmt: skip
"""What a layer is when a stage is switched off, for undo and the plot."""


class Session:
    """A network, its data and a plan under the user's hands; made by `open_session`.

    Signals may come from the preview's thread. The plan is replaced, never edited; results are
    frozen. `close()` ends the thread.
    """

    plan_changed = Signal(Plan, Plan)  # old, new
    cost_changed = Signal(Plan, Cost)  # exact bytes, RAM, MACs of a plan
    estimate_changed = Signal(Result)  # from the sensitivity table, before anything has run
    result_changed = Signal(Result)  # measured, on few samples first; grey while `plan_key` is not the plan's
    history_changed = Signal()  # undo, redo, or a new dot of the trade-off plot
    progress_changed = Signal(object)  # Progress, or None when nothing runs
    notice = Signal(Notice)
    blame_changed = Signal()
    job_progressed = Signal(object, list)  # JobProcess, its new reports (Told)
    job_finished = Signal(object)  # JobProcess: its status says how
    effect_changed = Signal(str, Stage, Effect)  # layer, stage, what that step changes

    def __init__(self, opened: Opened, original: Network, engine: Engine, plan: Plan) -> None:
        self.opened = opened
        self.original = original
        self.engine = engine
        self._history = History(plan)
        self._labels = {plan.key: "Open"}
        self.measured: dict[str, Measured] = {}  # by plan key, in order: the dots of the trade-off plot
        self.result: Result | None = None  # newest answer, perhaps of an older plan
        self.float_result: Result | None = None
        self.blame: SensitivityTable | None = None
        self.opening_notices: list[Notice] = []  # said by a face as soon as it shows the session
        self._error: Exception | None = None
        self._progressed = 0.0
        self._load_blame()
        self.jobs = Jobs(self)
        self.lane = PreviewLane(engine, self)
        self.save()
        self.lane.want(plan)

    # -- what is open -----------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """Model file."""
        return Path(self.opened.model)

    @property
    def graph(self) -> Graph:
        """Frozen layers."""
        return self.engine.graph

    @property
    def network(self) -> Network:
        """The network with batch norm folded: what techniques act on."""
        return self.engine.network

    @property
    def data(self) -> Dataset | None:
        """Evaluation data, or None."""
        return self.engine.sources.get("evaluation")

    @property
    def calibration_info(self) -> CalibrationInfo | None:
        """Where ranges come from, or None without any data."""
        return self.engine.calibration(self.plan.calibration)[1] if self.engine.sources else None

    def layer(self, name: str) -> LayerView:
        """View of a layer by studio name or the file's own name."""
        return LayerView(self, self.graph.layer(name))

    # -- the plan ---------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """Current plan."""
        return self._history.plan

    def set_step(self, layer: str, step: Step, gesture: object = None) -> None:
        """Give a layer a step (a STRUCTURE one to its channel group); one `gesture` (a drag) is one undo entry.

        Raises Refused with the reason; the plan then stays as it was.
        """
        name = self._name(layer)
        self.set_plan(with_step(self.plan, self.graph, name, step), _label(step, name), gesture, focus=name)

    def _name(self, layer: str) -> str:
        return layer if is_factor(layer, self.graph) else self.graph.layer(layer).name

    def remove_step(self, layer: str, stage: Stage) -> None:
        """Switch a stage off on a layer, whatever the defaults say."""
        name, step = self._name(layer), Step.off(stage.name)
        self.set_plan(with_step(self.plan, self.graph, name, step), _label(step, name), focus=name)

    def set_float(self, layer: str) -> None:
        """Leave a layer in float: GRID off, pruning kept."""
        self.remove_step(layer, Stage.GRID)

    def set_activation(self, layer: str, bits: int | None) -> None:
        """Bits of a layer's output tensor: 8, 16, 32 (float) or None (by the rule)."""
        name = self.graph.layer(layer).name
        self.set_plan(self.plan.with_activation(name, bits), f"activation of {name}", focus=name)

    def apply(self, layers: Sequence[str], step: Step, gesture: object = None) -> None:
        """Give several layers a step as one undo entry."""
        plan = self.plan
        for layer in layers:
            plan = with_step(plan, self.graph, layer, step)
        self.set_plan(plan, _label(step, f"{len(layers)} layers"), gesture)

    def set_plan(self, plan: Plan, label: str, gesture: object = None, focus: str | None = None) -> None:
        """Replace the plan; raises PlanError, Refused or DataError, and the old one then stays."""
        plan = canonical(plan, self.graph)
        self.engine.check(plan)
        if plan == self.plan:
            return
        old = self.plan
        self._history.push(plan, label, gesture)
        self._labels[plan.key] = label
        self._changed(old, focus)

    def undo(self) -> bool:
        """Go back one entry; False where there is none."""
        return self._move(-1)

    def redo(self) -> bool:
        """Go forward one entry; False where there is none."""
        return self._move(1)

    @property
    def undo_label(self) -> str | None:
        """What undo would take back, or None."""
        return self._history.undo_label

    @property
    def redo_label(self) -> str | None:
        """What redo would do again, or None."""
        return self._history.redo_label

    def _move(self, by: int) -> bool:
        old = self.plan
        if not self._history.move(by):
            return False
        self._changed(old, None)
        return True

    def _changed(self, old: Plan, focus: str | None) -> None:
        self._error = None
        self.lane.want(self.plan, focus)
        self.plan_changed.emit(old, self.plan)
        self.history_changed.emit()

    # -- numbers ----------------------------------------------------------------------------------

    @property
    def cost(self) -> Cost:
        """Exact sizes of the current plan; computed here if the preview has not done it yet."""
        return self.engine.cost(self.plan)

    @property
    def float_cost_known(self) -> Cost | None:
        """Sizes of the float network where they were computed already; never computes."""
        return self.engine.known_cost(FLOAT)

    @property
    def float_cost(self) -> Cost:
        """Sizes of the float network."""
        return self.engine.cost(FLOAT)

    def effect(self, layer: str, stage: Stage) -> Effect:
        """What a step of a layer changes: the whole model with it minus without it, all else as set."""
        without = with_step(self.plan, self.graph, layer, Step.off(stage.name))
        size = self.cost.flash_bytes - self.engine.cost(without).flash_bytes
        if self.engine.evaluator is None:
            return Effect(size, None, 0)
        chunks = min(FIRST, self.engine.evaluator.chunks)
        on, off = self.engine.measure(self.plan, chunks), self.engine.measure(without, chunks)
        points = None if on.value is None or off.value is None else on.value - off.value
        return Effect(size, points, on.samples)

    def doubt(self) -> str | None:
        """Say what is probably wrong before any compression: preprocessing or labels, by the float accuracy."""
        return doubt(self.graph, self.float_result, self.opened.expected)

    def wait(self, timeout: float | None = None) -> Session:
        """Block until the current plan is measured on all samples; raises what went wrong."""
        self.lane.wait(timeout)
        if self._error is not None:
            raise self._error
        return self

    def pause(self, paused: bool) -> None:
        """Hold or go on with measuring on more samples."""
        self.lane.pause(paused)

    def cancel(self) -> None:
        """Stop what runs; the last answers stay."""
        self.lane.cancel()
        self.progress_changed.emit(None)

    def start_job(self, *specs: JobSpec, threads: int = 1) -> JobProcess:
        """Train in a process of its own; without `specs` the plan's own jobs. `jobs.apply` takes the result over.

        Goes on with the same job where it was stopped. Raises Refused, or StudioError where another runs.
        """
        return self.jobs.start(specs, threads)

    def measure_blame(self, cases: Sequence[str] = tuple(CASES)) -> None:
        """Measure each layer's share in the background, while nothing else runs; goes on where it was."""
        background.measure_blame(self, cases)

    def request_effects(self, layer: str) -> None:
        """Measure what each step of a layer changes, in the background; answers by `effect_changed`."""
        background.request_effects(self, layer)

    # -- listener of the preview lane -------------------------------------------------------------

    def progress(self, title: str, done: int, total: int) -> None:
        """Pass on how far the lane is, ten times a second at most."""
        now = time.monotonic()
        if now - self._progressed >= PROGRESS_S:
            self._progressed = now
            self.progress_changed.emit(Progress(title, done, total))

    def idle(self) -> None:
        """Save what was measured; nothing runs."""
        self.save()
        self.progress_changed.emit(None)

    def failed(self, error: Exception) -> None:
        """Pass on what went wrong in the lane."""
        self._error = error
        self.notice.emit(notice_of(error))
        self.progress_changed.emit(None)

    def answered(self, plan: Plan, answer: Cost | Result) -> None:
        """Take an answer of the lane: the cost first, then results on more and more samples."""
        if isinstance(answer, Cost):
            self.save()
            self.jobs.say_unused(plan)
            self.cost_changed.emit(plan, answer)
            if self.blame is not None and plan.key not in self.measured:
                self.estimate_changed.emit(estimate(self.blame, plan, self.engine, answer))
            return
        self.result = answer
        known = self.measured.get(plan.key)
        if known is None or known.result.quick or known.result.samples <= answer.samples:
            self.measured[plan.key] = Measured(plan, answer, self._labels.get(plan.key, ""))
        if plan == FLOAT:
            self.float_result = answer
        elif answer.value is not None and answer.delta is not None:
            self._float_result(answer)
        self.result_changed.emit(answer)
        self.history_changed.emit()

    def _float_result(self, result: Result) -> None:
        known = self.float_result
        if known is None or known.samples < result.samples:
            assert self.engine.evaluator is not None
            chunks = -(-result.samples // 50)
            self.float_result = self.engine.measure(FLOAT, chunks)

    # -- export, saving, closing ------------------------------------------------------------------

    def export(
        self, out: Path | str, formats: Sequence[str] = ("onnx", "tflite"), options: Mapping[str, Any] | None = None,
        *, force: bool = False, frames: Path | str | None = None, plots: bool = False,
        progress: Callable[[str, int, int], None] | None = None, stop: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Write, re-read and run the current plan's files; returns the manifest (INTERFACE: export folder).

        A plan with attention needs `frames`, a folder or .npz of pictures of the size that the camera gives.
        `plots`: write pictures of the trade-off and of the largest layer too.
        Raises ExportError, Refused or Cancelled; nothing is then left half-written.
        """
        from studio.engine.exporting import export_plan
        from studio.session.opening import identity
        from studio.session.pictures import pictures

        plan = replace(self.plan, export=export_options({**self.plan.export, **(options or {})}))
        names = formats.split(",") if isinstance(formats, str) else formats
        return export_plan(
            self.engine, plan, Path(out), tuple(names), identity(self), force=force, frames=frames,
            pictures=pictures(self) if plots else None, progress=progress, stop=stop,
        )  # fmt: skip

    def stored(self, format: str) -> list[tuple[str, Any]]:
        """What a format would store and run for each weighted layer: (layer, Stored or Refusal)."""
        from studio.engine.exporting import stored

        return stored(self.engine, self.plan, format)

    def save_plan(self, path: Path | str) -> None:
        """Write the plan with the network's identity."""
        from studio.session.opening import identity

        preprocess = self.data.preprocess.to_json() if self.data else self.plan.preprocess
        replace(self.plan, model=identity(self), preprocess=preprocess).save(path)

    def load_plan(self, path: Path | str) -> None:
        """Apply a plan file; raises FileError, PlanError or Refused, and the old plan then stays."""
        from studio.engine.opening import weights_identity

        plan = Plan.load(path)
        warning = check_model(plan, self.graph, weights_identity(self.original))
        if warning:
            self.notice.emit(Notice("warning", warning))
        self.set_plan(replace(plan, model=None), f"plan {Path(path).name}")

    def __repr__(self) -> str:
        from studio.session.text import table

        return table(self)

    def _load_blame(self) -> None:
        known = autosave.load_sensitivity(self.opened)
        self.blame = known_table(self.engine, SensitivityTable.from_json(known) if known is not None else None)

    def save(self) -> None:
        """Write the autosave; says so where that is not possible."""
        table = None if self.blame is None else self.blame.to_json()
        state = self.engine.state(self.plan)
        try:
            if state is not None:
                states.keep(state)
            autosave.save(self.opened, self.plan, sensitivity=table)
        except StudioError as error:
            self.notice.emit(Notice("warning", f"The session cannot be saved: {error}"))

    def close(self) -> None:
        """End the preview and mark the session as closed in order."""
        self.jobs.close()
        self.lane.close()
        self.save()
        autosave.close(self.opened)


def notice_of(error: BaseException) -> Notice:
    """Notice for any exception: a user's mistake as its sentence, a fault of ours with details to copy."""
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, StudioError) and not isinstance(error, Cancelled):
        return Notice("error", str(error), detail)
    return Notice("error", f"Something went wrong inside the studio ({type(error).__name__}: {error}).", detail)


def _label(step: Step, where: str) -> str:
    what = step.found.chip(step.values) if step.technique else OFF[step.stage]
    return f"{what}, {where}"
