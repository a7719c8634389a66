"""Metrics and their intervals, on logits (samples, classes) as numpy arrays."""

from __future__ import annotations

import math

import numpy as np


def top1(outputs: np.ndarray) -> np.ndarray:
    """Class of each sample: (samples, ...) -> (samples,) int64; the first of equal maxima."""
    classes: np.ndarray = outputs.reshape(len(outputs), -1).argmax(1)
    return classes


def wilson(value: float, samples: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if samples == 0:
        return 0.0, 1.0
    centre = value + z * z / (2 * samples)
    spread = z * math.sqrt(value * (1 - value) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_interval(before: np.ndarray, after: np.ndarray, rounds: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of mean(after) - mean(before) over the same samples (0/1 arrays, seeded).

    The differences are -1, 0 or 1, so resampling the samples is one multinomial draw of their counts.
    """
    difference = after.astype(np.int64) - before.astype(np.int64)
    counts = np.array([(difference == d).sum() for d in (-1, 0, 1)])
    if counts.sum() == 0:
        return 0.0, 0.0
    draws = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=rounds)
    means = (draws[:, 2] - draws[:, 0]) / counts.sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def sqnr_db(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal to quantization noise in dB; inf where both are equal."""
    noise = float(np.square(reference.astype(np.float64) - other).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def cosine(reference: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the angle between two tensors taken as vectors."""
    a, b = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0
