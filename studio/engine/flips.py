"""Which samples a plan changes: right in float and wrong compressed, the other way round, and class by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from studio.core.errors import DataError
from studio.core.metrics import top1
from studio.engine.engine import FLOAT

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.engine.engine import Engine, Progress


@dataclass(frozen=True)
class Flip:
    """One sample whose answer changed. `index`: its position in the data set; classes by number."""

    index: int
    truth: int | None  # None without labels
    before: int  # the float model's answer
    after: int


@dataclass(frozen=True)
class ClassChange:
    """Share of a class's samples that are right, before and after; without labels of those that agree."""

    label: int
    samples: int
    before: float
    after: float


@dataclass(frozen=True)
class Flips:
    """All changes on the samples that were run. Without labels `lost` holds every changed answer."""

    samples: int
    lost: tuple[Flip, ...]  # float right, compressed wrong
    won: tuple[Flip, ...]  # float wrong, compressed right
    other: tuple[Flip, ...]  # wrong before and after, in another way
    classes: tuple[ClassChange, ...]  # the most harmed first


def flips(
    engine: Engine, plan: Plan, chunks: int | None = None, *,
    stop: Callable[[], bool] | None = None, progress: Progress | None = None,
) -> Flips:  # fmt: skip
    """Compare a plan with the float model sample by sample, on the first `chunks` chunks (all by default).

    Raises DataError without data or where the outputs are no classes, Cancelled when `stop()` says so.
    """
    if engine.metric == "cosine":
        remedy = "Compare SQNR and cosine similarity instead."
        raise DataError("the network's outputs are no classes, so no answer can flip.", remedy=remedy)
    evaluator = engine.evaluator
    assert evaluator is not None
    chunks = evaluator.chunks if chunks is None else min(chunks, evaluator.chunks)
    after = top1(engine.outputs(plan, chunks, stop=stop, progress=progress)[0])
    before = top1(engine.outputs(FLOAT, chunks, stop=stop)[0])
    indices = evaluator.indices(chunks)
    labels = evaluator.dataset.labels
    return compare(indices, None if labels is None else labels[indices], before, after)


def compare(indices: np.ndarray, labels: np.ndarray | None, before: np.ndarray, after: np.ndarray) -> Flips:
    """Flips of answers `before` and `after` (samples,) at positions `indices`; `labels` None = fidelity to `before`."""
    truth = before if labels is None else labels
    changed = np.flatnonzero(before != after)
    found: dict[str, list[Flip]] = {"lost": [], "won": [], "other": []}
    for i in changed:
        kind = "lost" if before[i] == truth[i] else "won" if after[i] == truth[i] else "other"
        label = None if labels is None else int(labels[i])
        found[kind].append(Flip(int(indices[i]), label, int(before[i]), int(after[i])))
    return Flips(
        len(indices), tuple(found["lost"]), tuple(found["won"]), tuple(found["other"]), _classes(truth, before, after)
    )


def _classes(truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[ClassChange, ...]:
    rows = []
    for label in np.unique(truth):
        own = truth == label
        shares = [float((answer[own] == label).mean()) for answer in (before, after)]
        rows.append(ClassChange(int(label), int(own.sum()), *shares))
    return tuple(sorted(rows, key=lambda row: (row.after - row.before, row.label)))
