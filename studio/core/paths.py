"""Where files lie, and how they are written: beside, synced, renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from studio.core.errors import FileError

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """Path of a shipped file: `studio/resources` in a wheel or frozen app, else the checkout's `resources`."""
    for root in (_PACKAGE / "resources", _PACKAGE.parent / "resources"):
        if (root / name).exists():
            return root / name
    raise FileError(f"the studio's own file '{name}' is missing.", remedy="Install the studio again.")


def user_folder(part: str = "") -> Path:
    """Folder for recent projects, autosaves and settings, or a part of it; `STUDIO_HOME` overrides it (tests do).

    Raises FileError where it cannot be made.
    """
    from platformdirs import user_data_path

    home = os.environ.get("STUDIO_HOME")
    folder = (Path(home) if home else user_data_path("edge-compression-studio", appauthor=False)) / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "Set STUDIO_HOME to a folder you can write to."
        raise FileError(f"cannot be made ({error.strerror}).", where=str(folder), remedy=remedy) from error
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield `.NAME.tmp` beside `path`; on success it is synced and renamed, on any failure removed.

    Raises FileError for an unwritable folder or a full disk.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno == errno.ENOSPC
        remedy = "Free some space or choose another folder." if full else "Choose a folder you can write to."
        raise FileError(f"cannot be written ({reason}).", where=str(path), remedy=remedy) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_WRITING = Lock()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically; threads take turns, for two would share one temporary file."""
    with _WRITING, atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file atomically."""
    write_bytes(path, content.encode())
