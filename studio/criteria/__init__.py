"""Importance criteria, one file each: one score per output channel, higher = keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.criteria._base import ChannelStatistics, Criterion, global_threshold, normalised

__all__ = ["ChannelStatistics", "Criterion", "global_threshold", "group_score"]


def group_score(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Score of a channel group (channels,): mean over its layers, each first normalised to mean 1.

    `scores`: one (channels,) for each layer whose output channels are cut together.
    """
    mean: np.ndarray = np.mean([normalised(s) for s in scores], axis=0)
    return mean
