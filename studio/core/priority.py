"""Priority of threads: one that computes lets one that draws go first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

LEVELS = 3
"""Levels of niceness that a computing thread takes; a job's process has more."""


def step_back() -> None:
    """Make the calling thread, and those that it starts, nicer than the process; Linux alone counts by thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.nice(LEVELS)
