"""What a fast convolution saves, costs and errs on one layer, computed and timed here beside the direct one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from studio.core.encoding import along, levels
from studio.techniques import _fast_kernels as kernels

ROUNDS = 101
SECONDS = 0.4
"""Timing ends after so many pairs of runs or, from five on, after so long. Single runs in turn: what else the
machine does hits few of them, and the median none."""
MARGIN = 0.95
"""A kernel is called faster when it takes at most this share of the other's time: less is chance."""


@dataclass(frozen=True)
class FastFacts:
    """One algorithm on one layer; multiplications and times are for one sample.

    `float_error`: largest difference from direct convolution in float64, as a share of the largest
    output, on normal random inputs. `int8_error`: largest difference of the int32 accumulators from the
    exact ones, in units of one, with int8 inputs and weights; 0 where the arithmetic is exact.
    """

    algorithm: str
    multiplications_direct: int
    multiplications: int
    weight_bytes: int  # float32, as the layer holds them
    transformed_bytes: int  # float32 (FFT: complex64), as the kernel reads them
    int8_weight_bytes: int
    int8_transformed_bytes: int  # int16 for the exact F(2x2,3x3), else float
    float_error: float
    int8_error: int
    direct_ms: float | None  # None where nothing was timed
    fast_ms: float | None
    threads: int

    @property
    def saved(self) -> float:
        """Share of the multiplications that go; below 0 where there are more."""
        return 1 - self.multiplications / self.multiplications_direct

    @property
    def faster(self) -> bool:
        """True where it was timed and took less than direct convolution, beyond chance."""
        return self.fast_ms is not None and self.direct_ms is not None and self.fast_ms <= MARGIN * self.direct_ms

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        saved = f"{100 * self.saved:.0f} % fewer multiplications"
        if self.fast_ms is None or self.direct_ms is None:
            return f"{saved}; not timed."
        ratio = self.direct_ms / self.fast_ms
        speed = f"{ratio:.2f}x as fast" if self.faster else f"not faster ({ratio:.2f}x), so direct convolution is taken"
        return f"{saved}; here {speed}: {self.fast_ms:.3f} ms against {self.direct_ms:.3f} ms."


def facts_of(
    algorithm: str, weight: np.ndarray, input_shape: Sequence[int], pads: Sequence[int], timed: bool
) -> FastFacts:
    """Facts of `algorithm` for weight (out, in, kh, kw) float32 on an input (1, in, H, W)."""
    generator = torch.Generator().manual_seed(0)
    w, x = torch.from_numpy(np.ascontiguousarray(weight)), torch.randn(tuple(input_shape), generator=generator)
    transformed, run = _kernel(algorithm, w, input_shape, pads)
    exact = kernels.direct(x.double(), w.double(), pads)
    lost = float((run(x, transformed) - exact).abs().max()) / (float(exact.abs().max()) or 1.0)
    direct_ms, fast_ms = _times(w, x, pads, transformed, run) if timed else (None, None)
    padded = (input_shape[2] + pads[0] + pads[2], input_shape[3] + pads[1] + pads[3])
    before, after = (
        kernels.multiplications(a, weight.shape, tuple(exact.shape[2:]), padded) for a in ("direct", algorithm)
    )
    return FastFacts(
        algorithm=algorithm,
        multiplications_direct=before,
        multiplications=after,
        weight_bytes=w.nbytes,
        transformed_bytes=transformed.nbytes,
        int8_weight_bytes=w.numel(),
        int8_transformed_bytes=2 * transformed.numel() if algorithm == "winograd2" else transformed.nbytes,
        float_error=lost,
        int8_error=_integer_error(algorithm, weight, input_shape, pads),
        direct_ms=direct_ms,
        fast_ms=fast_ms,
        threads=torch.get_num_threads(),
    )


def _kernel(
    algorithm: str, weight: Tensor, input_shape: Sequence[int], pads: Sequence[int]
) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Transformed weights, and the function of (x, transformed) that runs on them."""
    if algorithm == "fft":
        sizes = kernels.fft_sizes(input_shape[2] + pads[0] + pads[2], input_shape[3] + pads[1] + pads[3])
        places = weight.shape[2:]
        return kernels.fft_weights(weight, sizes), lambda x, t: kernels.fft(x, t, places, pads)
    size = kernels.SIZES[algorithm]
    return kernels.winograd_weights(weight, size), lambda x, t: kernels.winograd(x, t, size, pads)


def _integer_error(algorithm: str, weight: np.ndarray, input_shape: Sequence[int], pads: Sequence[int]) -> int:
    """Largest difference of accumulators: F(2x2,3x3) in integers, the others in float32, rounded."""
    scale = np.abs(weight).max((1, 2, 3)) / levels(8)
    scale[scale == 0] = 1
    q = torch.from_numpy(np.rint(weight / along(scale, 4, 0)).astype(np.int8))
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-128, 128, tuple(input_shape), generator=generator, dtype=torch.int32)
    exact = kernels.direct(x.double(), q.double(), pads)
    if algorithm == "winograd2":
        found = kernels.winograd(x, kernels.winograd_integers(q), 2, pads).double() / 4
    else:
        transformed, run = _kernel(algorithm, q.float(), input_shape, pads)
        found = run(x.float(), transformed).double().round()
    return int((found - exact).abs().max())


def _times(
    weight: Tensor, x: Tensor, pads: Sequence[int], transformed: Tensor, run: Callable[[Tensor, Tensor], Tensor]
) -> tuple[float, float]:
    """Median ms of direct and fast convolution, taken in turn on the threads that torch has."""
    ways: tuple[Callable[[], Tensor], ...] = (
        lambda: kernels.direct(x, weight, pads),
        lambda: run(x, transformed),
    )
    rounds: list[list[float]] = []
    with torch.inference_mode():
        for way in ways * 2:
            way()
        began = time.perf_counter()
        while len(rounds) < ROUNDS and (len(rounds) < 5 or time.perf_counter() - began < SECONDS):
            rounds.append([_seconds(way) for way in ways])
    direct, fast = (1e3 * statistics.median(column) for column in zip(*rounds, strict=True))
    return direct, fast


def _seconds(way: Callable[[], Tensor]) -> float:
    # Of a single thread its own time counts, without the turns that other programs take on a shared core.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    way()
    return clock() - began
