"""What a criterion is, and what it may look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from studio.core.graph import Layer


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """What one pass over data says of a layer's channels; `A` is its output after its activation."""

    mean_absolute: np.ndarray | None = None  # (out,) mean of |A[:, c]| over samples and places
    zeros: np.ndarray | None = None  # (out,) share of exact zeros in A[:, c]
    count: int = 0  # samples seen
    threshold: float | None = None  # of |w| over the whole network, for `magnitude`
    effect: np.ndarray | None = None  # (out,) mean over samples of |sum over places of A * dLoss/dA|, for `taylor`
    drop: float | None = None  # measured loss of the metric when the layer alone is compressed, for `sensitivity`


class Criterion(Protocol):
    """One file in `studio/criteria`, registered as `CRITERION`; higher = keep."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    needs: ClassVar[frozenset[str]]  # of {"activations", "labels", "measurement"}
    scores_weights: ClassVar[bool]

    def refuses(self, layer: Layer) -> str | None:
        """Reason why the layer has no such score, as a sentence; None where it has one."""

    def channels(self, weight: np.ndarray, statistics: ChannelStatistics | None = None) -> np.ndarray:
        """Scores (out,) float64 for a weight (out, ...); a transposed convolution's channels moved to the front.

        Raises ValueError where `statistics` lacks what `needs` says.
        """

    def weights(self, weight: np.ndarray) -> np.ndarray | None:
        """Scores of the single weights, float64 of the weight's shape; None where `scores_weights` is False."""


def weighted(layer: Layer) -> str | None:
    """Refuse a layer without weights."""
    return None if layer.weighted else f"{layer.name} has no weights."


def rows(weight: np.ndarray) -> np.ndarray:
    """One row for each output channel: (out, ...) -> (out, values) float64."""
    return weight.astype(np.float64).reshape(len(weight), -1)


def global_threshold(weights: Iterable[np.ndarray]) -> float:
    """Median of |w| over all weights of a network: the threshold that `magnitude` counts against."""
    values = [np.abs(w).ravel() for w in weights]
    return float(np.median(np.concatenate(values))) if values else 0.0


def normalised(scores: np.ndarray) -> np.ndarray:
    """Scores with mean 1; scores that are all zero become all one, so that they sway no group."""
    mean = float(scores.mean())
    return scores / mean if mean > 0 else np.ones_like(scores)
