"""What a selector is, what it answers, and how its places on a frame are laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from studio.attention._arithmetic import Arithmetic, Tensor
from studio.core.settings import Settings

Size = tuple[int, int]
"""Height and width in pixels."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie outside."""


@dataclass(frozen=True)
class Selection:
    """Where the network should look. The caller's gate compares `score` with the setting `threshold`."""

    box: Box
    score: int
    heat: np.ndarray | None  # int32 (rows, columns) over the whole frame, any scale; None for a baseline


@dataclass(frozen=True)
class Chosen:
    """What a selector computes inside an `Arithmetic`: corner and score of the best window."""

    top: Tensor  # (1,) int32
    left: Tensor  # (1,) int32
    score: Tensor  # (1,) int32 or int64
    heat: Tensor | None


class Selector(Protocol):
    """One file in `studio/attention`, registered as `SELECTOR`."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    baseline: ClassVar[bool]  # True: no stage of its own, only for comparison
    settings: ClassVar[type[Settings]]

    def refuses(self, frame: Size, window: Size, settings: Any) -> str | None:
        """Reason why frames of this size cannot be searched, as a sentence; None where they can."""

    def window(self, frame: Size, window: Size) -> Size:
        """Size of the box that it will choose: `window`, at most the frame."""

    def compute(self, a: Arithmetic, pixels: Tensor, frame: Size, window: Size, settings: Any) -> Chosen:
        """Corner and score of the best window; `pixels`: (h, w, 3) uint8, `window` as `window()` gave it."""

    def operations(self, frame: Size, window: Size, settings: Any) -> int:
        """Integer operations for one frame: each add, multiply-add, absolute value or comparison is one."""

    def select(self, frame: np.ndarray, window: Size, settings: Any) -> Selection:
        """Box, score and heat map of one frame: uint8 (h, w, 3)."""


def clipped(frame: Size, window: Size) -> Size:
    """Window that fits into the frame."""
    return min(frame[0], window[0]), min(frame[1], window[1])


def selection(chosen: Chosen, window: Size) -> Selection:
    """Turn numpy results into a Selection."""
    top, left = int(chosen.top[0]), int(chosen.left[0])
    return Selection((left, top, left + window[1], top + window[0]), int(chosen.score[0]), chosen.heat)


def places(length: int, window: int, step: int) -> list[int]:
    """Starts of a window along one axis: every `step`, and the last possible one."""
    last = length - window
    starts = list(range(0, last + 1, step))
    return starts if starts[-1] == last else [*starts, last]
