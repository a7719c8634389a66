"""Centre: the middle crop, whatever it shows (baseline)."""

from __future__ import annotations

from studio.attention._baseline import Baseline
from studio.attention._selector import Size, clipped


class Centre(Baseline):
    """The middle of the frame."""

    name = "centre"
    title = "Centre crop"
    help = "Baseline: the middle of the frame, at the crop's size."

    def window(self, frame: Size, window: Size) -> Size:
        """`window`, at most the frame."""
        return clipped(frame, window)


SELECTOR = Centre()
