"""Scaled: no attention, the whole frame resized to the network's input (baseline)."""

from __future__ import annotations

from studio.attention._baseline import Baseline


class Scaled(Baseline):
    """The whole frame, resized."""

    name = "scaled"
    title = "Full frame, scaled"
    help = "Baseline: the whole frame resized to the network's input size."


SELECTOR = Scaled()
