"""Training results of this user, kept as files by their id: what a plan's `state` names."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from studio.core import paths
from studio.core.errors import FileError
from studio.core.state import State

KEPT_S = 7 * 86400.0
"""A state that nothing names any more is kept this long after its last use."""


def keep(state: State) -> Path:
    """Write a state where it is not there yet; raises FileError for an unwritable folder or a full disk."""
    file = _file(state.id)
    if file.exists():
        os.utime(file)
    else:
        state.save(file)
    return file


def load(id: str) -> State:
    """Return the state of an id; raises FileError where it is missing or damaged."""
    file = _file(id)
    if not file.exists():
        raise FileError("the training result is missing.", where=id[:15], remedy="Train again.")
    with suppress(OSError):
        os.utime(file)
    return State.load(file)


def known(id: str) -> bool:
    """True where the state's file is there."""
    return _file(id).exists()


def collect(named: Collection[str]) -> None:
    """Remove states that nobody names and that were not used for a week."""
    wanted, now = {_file(name) for name in named}, time.time()
    for file in _folder().glob("*.state"):
        with suppress(OSError):
            if file not in wanted and now - file.stat().st_mtime > KEPT_S:
                file.unlink()


def _folder() -> Path:
    return paths.user_folder("states")


def _file(id: str) -> Path:
    return _folder() / f"{id.removeprefix('sha256:')}.state"
