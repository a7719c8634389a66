"""Plan -> export folder: refusals first, then files one by one, each run and compared, the manifest last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studio.core import registry
from studio.core.errors import DataError, Refused
from studio.core.plan import Plan
from studio.core.result import Result
from studio.core.technique import Stage
from studio.data import Dataset
from studio.engine.attention_export import plan_attention
from studio.engine.engine import FLOAT, Engine, Progress
from studio.engine.ranges import is_silent
from studio.engine.verify import verify_file
from studio.export.folder import ExportFolder
from studio.export.targets._base import Refusal, Stored, Target
from studio.lowering.program import Program

Stop = Callable[[], bool]


def stored(engine: Engine, plan: Plan, format: str) -> list[tuple[str, Stored | Refusal]]:
    """What one format would store and run for each weighted layer: the table shown before export."""
    target: Target = registry.find("export.targets", format)
    program = engine.program(plan_for(target, plan))
    return [
        (op.nodes[0], target.can(op, program, plan.export))
        for op in program.operations
        if op.weights is not None or op.weight is not None
    ]


def plan_for(target: Target, plan: Plan) -> Plan:
    """Return the part of a plan that a format stores: one in float has no grids and no codes."""
    return plan.without_stages(Stage.GRID, Stage.CODE) if target.in_float else plan


def export_plan(
    engine: Engine,
    plan: Plan,
    out: Path,
    formats: Sequence[str],
    identity: Mapping[str, Any],
    *,
    force: bool = False,
    frames: Path | str | None = None,
    pictures: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Write, re-read and run the files of a plan; returns the manifest.

    `identity`: what plan and manifest say of the model; `frames`: what the attention stage will look at;
    `pictures`: further files by name, plots of the session.
    Raises Refused before anything is written where a format would need other numbers, ExportError,
    DataError, FileError or Cancelled.
    """
    dataset, targets = _dataset(engine), _targets(formats)
    attention = plan_attention(plan.attention, frames, engine.network.input_shape, dataset.preprocess)
    folder = ExportFolder(out, force=force)
    engine.prepare(plan, progress, stop)
    before = engine.measure(FLOAT, stop=stop, progress=progress)
    program = engine.program(plan)
    common = _silent(engine, plan) + _kernels(engine, plan)
    files = {target.name: _file(engine, plan, target, common) for target in targets}
    description = describe(engine, plan, program, identity)
    whole = replace(plan, model=dict(identity), preprocess=dataset.preprocess.to_json())
    previews = {n: engine.measure(f.plan, target=n, stop=stop, progress=progress) for n, f in files.items()}
    with folder:
        written = {n: f.write(folder, engine, description, progress, stop) for n, f in files.items()}
        stage = attention and attention.write(
            folder, written["onnx"][1] if "onnx" in written else None, dataset.classes or (),
            warning=next((t.saturation_risk(program, plan.export) for t in targets if t.name == "onnx"), None),
            progress=progress, stop=stop,
        )  # fmt: skip
        folder.write("plan.json", whole.text().encode())
        for name, content in (pictures or {}).items():
            folder.write(name, content)
        manifest = {
            **_summary(before, previews, program, engine, plan),
            "exports": [row for row, _ in written.values()],
            "attention": stage,
            **description,
            "snippets": {target.name: target.snippet(description) for target in targets},
            "versions": {name: version(name) for name in ("onnxruntime", "ai-edge-litert", "torch", "onnx")},
        }
        return folder.finish(manifest)


def _dataset(engine: Engine) -> Dataset:
    if engine.evaluator is None:
        remedy = "Give evaluation data with --data (in the app: Data)."
        raise DataError("an export is checked on samples, and there is no data.", remedy=remedy)
    return engine.evaluator.dataset


def _targets(formats: Sequence[str]) -> list[Target]:
    found: list[Target] = [registry.find("export.targets", name) for name in dict.fromkeys(formats)]
    if not found:
        raise Refused("no format was named.", where="export", remedy="Name at least one, as in --format onnx,tflite.")
    return found


@dataclass(frozen=True)
class _File:
    """One file of an export. `plan`: the part of the plan that its format stores; `notes`: what is said of it."""

    target: Target
    plan: Plan
    program: Program
    notes: list[str]

    def write(
        self, folder: ExportFolder, engine: Engine, description: Mapping[str, Any],
        progress: Progress | None, stop: Stop | None,
    ) -> tuple[dict[str, Any], bytes]:  # fmt: skip
        """Write, read back and run it; returns its row of the manifest, and its content."""
        content = self.target.write(self.program, description, dict(self.plan.export))
        path = folder.write(self.target.file_name, content)
        verdict = verify_file(
            path, self.target, engine, self.plan, self.program, self.notes, progress=progress, stop=stop
        )
        return {**verdict.row, "path": str(folder.place(self.target.file_name))}, content


def _file(engine: Engine, plan: Plan, target: Target, notes: list[str]) -> _File:
    """`notes`: what is said of every file. Raises Refused where the format would need other numbers than the plan's."""
    own = plan_for(target, plan)
    program = engine.program(own)
    return _File(target, own, program, _notes(target, program, plan) + notes)


def describe(engine: Engine, plan: Plan, program: Program, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every export says of itself: model, preprocessing, layouts, quantization of input and output."""
    dataset = engine.evaluator.dataset if engine.evaluator else None
    return {
        "model": {key: value for key, value in identity.items() if key != "layers"},
        "preprocess": dataset.preprocess.to_json() if dataset else dict(plan.preprocess),
        "classes": list(dataset.classes) if dataset and dataset.classes else None,
        "layout": "NCHW" if len(engine.network.input_shape) == 4 else "as the source network",
        "input": _tensor(program, program.inputs[0]),
        "outputs": [
            _tensor(program, name) | {"name": own}
            for name, own in zip(program.outputs, engine.network.outputs, strict=True)
        ],
        "full_integer": not program.float_layers,
        "float_layers": list(program.float_layers),
    }


def _tensor(program: Program, name: str) -> dict[str, Any]:
    """Name, shape and, where an integer tensor stands behind it, its quantization."""
    info = program.tensors[name]
    found: dict[str, Any] = {"name": name, "shape": list(info.shape), "quantization": None}
    for op in program.operations:
        other = op.output if op.kind == "quantize" and name in op.inputs else None
        if op.kind == "dequantize" and op.output == name:
            other = op.inputs[0]
        made = None if other is None else program.tensors[other].format
        if made is not None:
            found["quantization"] = {"scale": made.scale, "zero_point": made.zero_point, "bits": made.bits}
    return found


def _notes(target: Target, program: Program, plan: Plan) -> list[str]:
    """What is stored wider than planned; raises Refused where the format would need other numbers."""
    notes = []
    for op in program.operations:
        answer = target.can(op, program, plan.export)
        if isinstance(answer, Refusal):
            raise Refused(answer.reason, where=f"{target.name}: {op.nodes[0]}", remedy="Change the step or the format.")
        if answer.note:
            notes.append(f"{op.nodes[0]}: {answer.note}")
    return notes


def _silent(engine: Engine, plan: Plan) -> list[str]:
    """Say which layers gave nothing but zeros while ranges were taken."""
    if not engine.needs_ranges(plan):
        return []
    now = engine.statistics(plan.calibration, variant=engine.variant(plan))
    silent = [n for n, at in now.activation.items() if is_silent(now.tensors[at])]
    if not silent:
        return []
    before = engine.statistics(plan.calibration)
    what = "gives only zeros on the calibration samples, so the range of its output is a guess (0 to 1)."
    spoke = {n for n, at in before.activation.items() if not is_silent(before.tensors[at])}
    remedy = "Give samples that reach it with --calibration."
    killed = "In the original network it does not: take less away, or train with a lower learning rate."
    return [f"{name}: {what} {killed if name in spoke else remedy}" for name in silent]


def _kernels(engine: Engine, plan: Plan) -> list[str]:
    """Say that steps which choose a kernel are not in any file."""
    steps = [(name, s) for name, own in engine.resolve(plan).steps.items() for s in own if s.stage == Stage.KERNEL]
    what = "changes nothing in this file; what runs it chooses its kernels."
    return [f"{name}: {step.technique} {what}" for name, step in steps]


def _summary(
    before: Result, previews: Mapping[str, Result], program: Program, engine: Engine, plan: Plan
) -> dict[str, Any]:
    per_format = {name: sizes(result) for name, result in previews.items()}
    state = engine.state(plan)
    info = engine.calibration(plan.calibration)[1]
    return {
        "before": sizes(before),
        "previewed": {**next(iter(per_format.values())), "per_format": per_format},
        "calibration": {
            "source": info.source, "samples": info.samples, "same_as_evaluation": info.same_as_evaluation,
        },
        "jobs": [] if state is None else list(state.about.get("jobs", [])),
        "skipped": [{"layer": s.layer, "technique": s.technique, "reason": s.reason} for s in engine.skipped(plan)],
    }  # fmt: skip


def sizes(result: Result) -> dict[str, Any]:
    """A result as the JSON of `compress` has it."""
    return {
        "metric": result.metric,
        "value": result.value,
        "samples": result.samples,
        "interval": result.interval,
        "flash_bytes": result.cost.flash_bytes,
        "peak_ram_bytes": result.cost.peak_ram_bytes,
        "macs": result.cost.macs,
    }
