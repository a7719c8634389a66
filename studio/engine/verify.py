"""Written file -> read back -> run in its real runtime -> compared with the preview of that format."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio import runtimes
from studio.core.errors import Cancelled
from studio.core.plan import Plan
from studio.engine.engine import FLOAT, Engine, Progress
from studio.engine.evaluator import CHUNK
from studio.engine.score import agreement, score
from studio.export.targets._base import Target
from studio.lowering import execute
from studio.lowering.program import Program

AGREEMENT = 0.995
"""Share of samples on which file and preview must give the same top-1."""
VALUE = 0.002
"""Largest difference of the metric between file and preview."""


@dataclass(frozen=True)
class Verdict:
    """What reading back and running one file gave; `row` is its entry in the manifest."""

    row: dict[str, Any]
    failures: tuple[str, ...]


def verify_file(
    path: Path, target: Target, engine: Engine, plan: Plan, program: Program, notes: list[str],
    *, progress: Progress | None = None, stop: Callable[[], bool] | None = None,
) -> Verdict:  # fmt: skip
    """Run a written file on all evaluation samples; a file that does not agree is named, never kept silently."""
    evaluator = engine.evaluator
    assert evaluator is not None
    expected = engine.outputs(plan, target=target.name, stop=stop, progress=progress)
    reference = engine.outputs(FLOAT, stop=stop, progress=progress)
    with target.open(path, program) as runner:
        found = _run(runner, engine, progress, stop)
        x = evaluator.dataset.batch(evaluator.indices(1))
        different = _different_tensors(runner, target, program, x)
        latency, signature = runner.latency(x[:1]), runner.signature()
        name = runner.name
    content = path.read_bytes()
    risk = target.saturation_risk(program, plan.export)
    labels = evaluator.dataset.labels
    here = None if labels is None else labels[evaluator.indices(evaluator.chunks)]
    file_score = score(engine.metric, found, reference, here)
    preview_score = score(engine.metric, expected, reference, here)
    samples = len(found[0])
    same = agreement(found, expected, engine.metric)
    difference = [np.abs(a - b) for a, b in zip(found, expected, strict=True)]
    failures = [
        *target.differences(content, program, plan.export),
        *(f"tensor {tensor} differs from the preview in {n:,} of {size:,} values" for tensor, n, size in different),
        *_disagreements(same, file_score.value, preview_score.value, samples),
    ]
    row = {
        "format": target.name,
        "path": str(path.resolve()),
        "runtime": name,
        **signature,
        "file_bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
        "metric": engine.metric,
        "value": file_score.value,
        "samples": samples,
        "agreement": same,
        "agreement_float": agreement(found, reference, engine.metric),
        "max_abs_difference": max(float(d.max()) for d in difference),
        "mean_abs_difference": float(np.mean([d.mean() for d in difference])),
        "saturated": _saturated(program, x, target.name),
        "saturation_risk": risk is not None,
        "notes": [*notes, *([risk] if risk else []), *failures],
        "passed": not failures,
        "latency_ms": {"median": latency[0], "p90": latency[1]},
    }
    return Verdict(row, tuple(failures))


def _run(
    runner: runtimes.Runner, engine: Engine, progress: Progress | None, stop: Callable[[], bool] | None
) -> tuple[np.ndarray, ...]:
    evaluator = engine.evaluator
    assert evaluator is not None
    indices = evaluator.indices(evaluator.chunks)
    rows = []
    for at in range(0, len(indices), CHUNK):
        if stop and stop():
            raise Cancelled
        rows.append(runner.run(evaluator.dataset.batch(indices[at : at + CHUNK])))
        if progress:
            progress(f"Running the file in {runner.name}", min(at + CHUNK, len(indices)), len(indices))
    return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))


def exact_tensors(program: Program) -> tuple[str, ...]:
    """Integer tensors before the first listed operator or float layer: these must be equal bit for bit."""
    open_ended: set[str] = set()
    exact = []
    for op in program.operations:
        doubtful = execute.listed(op) or open_ended.intersection(op.inputs)
        if doubtful or not (op.integer or op.kind == "quantize"):
            open_ended.add(op.output)
        elif program.tensors[op.output].format is not None:
            exact.append(op.output)
    return tuple(exact)


def _different_tensors(
    runner: runtimes.Runner, target: Target, program: Program, x: np.ndarray
) -> list[tuple[str, int, int]]:
    """Tensors that must be equal and are not: (name, differing values, values)."""
    names = exact_tensors(program)
    x = x if program.free_batch else x[:1]
    ours = execute.run_program(program, torch.from_numpy(x), target.name, keep=names)
    theirs = runner.tensors(x, names)
    found = []
    for name in names:
        if name in theirs:
            a, b = ours[name].numpy().astype(np.int32), theirs[name].astype(np.int32)
            if a.shape != b.shape or (a != b).any():
                found.append((name, int((a != b).sum()) if a.shape == b.shape else a.size, a.size))
    return found


def _disagreements(same: float, value: float, preview: float, samples: int) -> list[str]:
    allowed = AGREEMENT if samples >= 200 else 1 - 1.0000001 / samples
    failures = []
    if same < allowed:
        failures.append(f"it agrees with the preview on {same:.2%} of the samples only")
    if abs(value - preview) > max(VALUE, 1.0000001 / samples):
        failures.append(f"its value is {value:.4f}, the preview's {preview:.4f}")
    return failures


def _saturated(program: Program, x: np.ndarray, target: str) -> float:
    """Share of integer outputs that stand at the end of their range."""
    ends = [
        program.by_output[name].inputs[0] for name in program.outputs if program.by_output[name].kind == "dequantize"
    ]
    if not ends:
        return 0.0
    values = execute.run_program(program, torch.from_numpy(x if program.free_batch else x[:1]), target, keep=ends)
    flat = np.concatenate([values[name].numpy().ravel() for name in ends])
    return float(((flat <= -128) | (flat >= 127)).mean())
