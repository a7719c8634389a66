"""Full: no attention, the network runs over the whole frame at its resolution (baseline)."""

from __future__ import annotations

from studio.attention._baseline import Baseline


class Full(Baseline):
    """The whole frame, not resized."""

    name = "full"
    title = "Full frame"
    help = "Baseline: the network at the frame's own resolution; for fully convolutional networks only."


SELECTOR = Full()
