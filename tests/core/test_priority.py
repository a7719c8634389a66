"""What computes steps back; the thread that draws does not."""

from __future__ import annotations

import os
import sys
from threading import Thread

import pytest

from studio.core.priority import LEVELS, step_back


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts niceness by thread")
def test_a_thread_and_those_it_starts_step_back_alone() -> None:
    found: list[int] = []

    def look() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, 0))

    def work() -> None:
        step_back()
        look()
        own = Thread(target=look)
        own.start()
        own.join()

    look()
    thread = Thread(target=work)
    thread.start()
    thread.join()
    look()
    before = found[0]
    assert found == [before, min(19, before + LEVELS), min(19, before + LEVELS), before]
