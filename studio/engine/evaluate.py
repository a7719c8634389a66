"""Any readable model or exported file, run in its real runtime on data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import studio.data
from studio import runtimes
from studio.core.errors import DataError
from studio.engine.engine import Progress
from studio.engine.evaluator import CHUNK
from studio.engine.score import score
from studio.export.folder import check_member


def evaluate_file(
    file: Path | str,
    data: Path | str,
    *,
    preprocess: Mapping[str, Any] | Path | str | None = None,
    label: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    factory: str | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Metric, size and latency of a file (INTERFACE: `evaluate`).

    `factory`: "package.module:function" that makes the module whose weights the file holds; this and data that is
    such a name are run only with `trust`.
    Without labels there is nothing to compare one file with, so that is a DataError.
    """
    path = Path(file).expanduser()
    check_member(path)
    with runtimes.open(path, factory=factory, trust=trust) as runner:
        dataset = studio.data.open(
            data, input_shape=runner.input_shape, preprocess=preprocess, label=label, samples=samples, seed=seed,
            plan_preprocess=runner.preprocess, trust=trust,
        )  # fmt: skip
        if dataset.labels is None:
            remedy = "Give labelled data; `compress` compares a file with its own float model without labels."
            raise DataError("has no labels, so a single file has no metric.", where=str(data), remedy=remedy)
        order = dataset.order(seed)
        rows = []
        for at in range(0, len(order), CHUNK):
            rows.append(runner.run(dataset.batch(order[at : at + CHUNK])))
            if at == 0:
                studio.data.check_labels(dataset, rows[0][0].shape[1])
            if progress:
                progress(f"Running {path.name} in {runner.name}", min(at + CHUNK, len(order)), len(order))
        outputs = tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
        found = score("top1", outputs, outputs, dataset.labels[order])
        median, p90 = runner.latency(dataset.batch(order[:1]))
        return {
            "file": str(path.resolve()),
            "runtime": runner.name,
            "metric": "top1",
            "value": found.value,
            "samples": len(order),
            "interval": found.interval,
            "file_bytes": path.stat().st_size,
            "latency_ms": {"median": median, "p90": p90},
        }
