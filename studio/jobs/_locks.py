"""Locks that end with their process, also after kill -9: flock on a file, handed on to the worker.

The process that starts a worker takes the locks, so that it can refuse with a sentence; the worker
inherits the open files and with them the locks. The kernel frees them when the worker is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

RETRY_S, WAIT_S = 0.02, 0.3
"""Somebody may just be looking (`held`), which takes microseconds."""


def hold(path: Path) -> int | None:
    """Take a lock; returns the open file that holds it, or None where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + WAIT_S
    while not _flock(file, fcntl.LOCK_EX):
        if time.monotonic() > until:
            os.close(file)
            return None
        time.sleep(RETRY_S)
    return file


def held(path: Path) -> bool:
    """True while some process holds the lock."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _flock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
