"""One number for a network's outputs, with its interval: accuracy, or fidelity where there are no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from studio.core.metrics import cosine, paired_interval, top1, wilson

Metric = Literal["top1", "agreement", "cosine"]

TITLES: dict[str, str] = {
    "top1": "Accuracy",
    "agreement": "Agreement with the float model",
    "cosine": "Cosine similarity to the float model",
}


@dataclass(frozen=True)
class Score:
    """A metric over samples as a fraction, with 95 % intervals where the metric is a share."""

    value: float
    interval: tuple[float, float] | None
    delta: float | None
    delta_interval: tuple[float, float] | None


def choose(labels: np.ndarray | None, output_shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> Metric:
    """Metric that fits: top-1 with labels; else agreement for one row of classes, cosine for anything else."""
    classes = len(output_shapes) == 1 and 1 < np.prod(output_shapes[0][1:]) == output_shapes[0][1]
    if labels is not None:
        return "top1"
    return "agreement" if classes and output_shapes[0] != input_shape else "cosine"


def score(
    metric: Metric, outputs: Sequence[np.ndarray], reference: Sequence[np.ndarray], labels: np.ndarray | None
) -> Score:
    """Score `outputs` (samples, ...) beside the float model's `reference` on the same samples."""
    if metric == "cosine":
        pairs = zip(*[[array.reshape(len(array), -1) for array in side] for side in (reference, outputs)], strict=True)
        return Score(float(np.mean([cosine(a, b) for a, b in pairs])), None, None, None)
    ours, theirs = top1(outputs[0]), top1(reference[0])
    truth = theirs if metric == "agreement" or labels is None else labels
    after, before = ours == truth, theirs == truth
    value = float(after.mean())
    low, high = paired_interval(before, after)
    return Score(value, wilson(value, len(after)), value - float(before.mean()), (low, high))


def agreement(outputs: Sequence[np.ndarray], other: Sequence[np.ndarray], metric: Metric) -> float:
    """Share of samples with the same top-1; for outputs that are no classes the share of equal rows to 1 % of range."""
    if metric != "cosine":
        return float((top1(outputs[0]) == top1(other[0])).mean())
    equal = np.ones(len(outputs[0]), dtype=bool)
    for a, b in zip(outputs, other, strict=True):
        span = float(np.ptp(b)) or 1.0
        equal &= np.abs(a - b).reshape(len(a), -1).max(1) <= 0.01 * span
    return float(equal.mean())
