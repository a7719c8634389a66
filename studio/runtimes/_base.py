"""What a runner is: one open file in its real runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import numpy as np

WARM_UP, RUNS = 5, 50
"""Runs before and while latency is taken."""


class Runner(Protocol):
    """One open file. Inputs and outputs are float32 in the layout of the source network (NCHW)."""

    name: str  # runtime, version, kernel set: "onnxruntime 1.32.0"
    input_shape: tuple[int, ...]  # with a batch of 1
    preprocess: Mapping[str, Any] | None  # as the file says, or None

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs for a batch of samples (n, ...)."""

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample (1, ...), on one thread."""

    def signature(self) -> dict[str, Any]:
        """Inputs and outputs as the file itself has them: see `described`."""

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Integer tensors inside, int8 in the program's layout, for a batch; only those that the file has."""

    def __enter__(self) -> Runner: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""


def described(
    name: str, shape: Sequence[Any], dtype: str, layout: str | None, quantization: tuple[float, int] | None = None
) -> dict[str, Any]:
    """One input or output of a file: a size that is free is null; `layout` is null where axes have no names."""
    made = None if quantization is None else {"scale": float(quantization[0]), "zero_point": int(quantization[1])}
    sizes = [int(n) if isinstance(n, int | np.integer) and n > 0 else None for n in shape]
    return {"name": name, "shape": sizes, "layout": layout, "dtype": dtype, "quantization": made}


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Median and 90 % of the time of a call, in ms, after some calls to warm up."""
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times), sorted(times)[int(0.9 * RUNS)]
