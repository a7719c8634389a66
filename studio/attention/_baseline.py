"""What the three baselines share: a box that does not depend on the picture."""

from __future__ import annotations

import numpy as np

from studio.attention._arithmetic import Arithmetic, Tensor
from studio.attention._selector import Chosen, Selection, Size
from studio.core.settings import Settings


class BaselineSettings(Settings):
    """Nothing can be set."""


class Baseline:
    """A fixed box; the gate is always open (score 0, no threshold)."""

    baseline = True
    settings = BaselineSettings

    def refuses(self, frame: Size, window: Size, settings: BaselineSettings) -> str | None:
        """Return None: a fixed box is always possible."""
        return None

    def window(self, frame: Size, window: Size) -> Size:
        """Return the whole frame."""
        return frame

    def compute(self, a: Arithmetic, pixels: Tensor, frame: Size, window: Size, settings: BaselineSettings) -> Chosen:
        """Return the middle of the frame."""
        top, left = (frame[0] - window[0]) // 2, (frame[1] - window[1]) // 2
        return Chosen(a.constant([top]), a.constant([left]), a.constant([0]), None)

    def operations(self, frame: Size, window: Size, settings: BaselineSettings) -> int:
        """Return 0: nothing is looked at."""
        return 0

    def select(self, frame: np.ndarray, window: Size, settings: BaselineSettings) -> Selection:
        """Return the same box for every frame: uint8 (h, w, 3)."""
        size = frame.shape[0], frame.shape[1]
        height, width = self.window(size, window)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        return Selection((left, top, left + width, top + height), 0, None)
