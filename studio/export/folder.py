"""The export folder: files are made and checked aside, then moved in one by one, the manifest last.

Until the first move the old export is whole; a kill between the moves leaves a folder that every reader
calls incomplete, and that the next export takes over. What no manifest names is never touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.core import paths
from studio.core.errors import ExportError, FileError

MANIFEST = "manifest.json"
ASIDE = ".export.tmp"
"""Folder inside the export folder, on the same disk, in which files wait."""


class ExportFolder:
    """One export being written. Leaving it without `finish` drops everything and keeps the old export."""

    def __init__(self, folder: Path, force: bool = False) -> None:
        """Raise ExportError where the folder holds what no manifest names, unless `force`, or is a file.

        Raises FileError where it cannot be written to.
        """
        self.folder = folder.expanduser().resolve()
        self._aside = self.folder / ASIDE
        self._written: dict[str, bytes] = {}
        self._moving = self._finished = False
        if self.folder.exists() and not self.folder.is_dir():
            raise ExportError("is a file, not a folder.", where=str(self.folder), remedy="Choose another folder.")
        _check_writable(self.folder)
        # An export that was killed while its files moved in has left the manifest of what it moved.
        self._old = named_by_manifest(self.folder) | named_by_manifest(self._aside)
        strange = sorted(set(self._found()) - self._old)
        if strange and not force:
            names = ", ".join(strange[:3]) + (" ..." if len(strange) > 3 else "")
            remedy = "Choose an empty folder, or write beside them with --force."
            raise ExportError(f"holds files that are not of an export: {names}.", where=str(self.folder), remedy=remedy)

    def _found(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return [p.name for p in self.folder.iterdir() if not (p.name.startswith(".") and p.name.endswith(".tmp"))]

    def __enter__(self) -> ExportFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what still lies aside; a folder that this export made and left empty goes too."""
        if self._finished:
            shutil.rmtree(self._aside, ignore_errors=True)
            return
        with suppress(OSError):
            for name in self._written:
                if not (name == MANIFEST and self._moving):
                    (self._aside / name).unlink(missing_ok=True)
            if self._written:
                self._aside.rmdir()
                self.folder.rmdir()

    def write(self, name: str, content: bytes) -> Path:
        """Write a file aside, synced; returns where it lies until `finish`, to be read back and run."""
        self._written[name] = content
        try:
            paths.write_bytes(self._aside / name, content)
        except FileError as error:
            raise FileError(error.what, where=str(self.place(name)), remedy=error.remedy) from error
        return self._aside / name

    def place(self, name: str) -> Path:
        """Path of a file once the export is finished."""
        return self.folder / name

    def finish(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Move all files in, remove what only the old manifest names, then move the new one in.

        Raises FileError; the folder is then incomplete.
        """
        files = {name: {"sha256": _hash(content), "bytes": len(content)} for name, content in self._written.items()}
        whole = {"format": 1, "files": files, **manifest}
        self.write(MANIFEST, (json.dumps(whole, indent=2) + "\n").encode())
        self._moving = True
        try:
            for name in files:
                self._move(name)
            for name in self._old - files.keys() - {MANIFEST}:
                if not self.place(name).is_dir():
                    self.place(name).unlink(missing_ok=True)
            self._move(MANIFEST)
        except OSError as error:
            what = f"the export is incomplete: a file cannot be put in place ({error.strerror or error})."
            raise FileError(what, where=str(self.folder), remedy="Export again, or to another folder.") from error
        self._finished = True
        return whole

    def _move(self, name: str) -> None:
        """Put a file in its place, and let that reach the disk before the next one follows."""
        (self._aside / name).replace(self.place(name))
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # not every file system can sync a folder
                os.fsync(handle)
        finally:
            os.close(handle)


def _check_writable(folder: Path) -> None:
    """Raise FileError where the folder, or the nearest one above it that exists, cannot be written to."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK | os.R_OK):
        remedy = "Choose a folder you can write to."
        raise FileError("cannot be written (no permission, or not a folder).", where=str(nearest), remedy=remedy)


def named_by_manifest(folder: Path) -> set[str]:
    """Names of the files that a folder's manifest names, itself included; empty without one."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {MANIFEST} | {name for name in files if _is_plain(name)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a complete export; raises FileError without one, ExportError for an incomplete export."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        expected = {name: str(entry["sha256"]) for name, entry in manifest["files"].items()}
    except OSError:
        raise FileError("is no export: it has no manifest.json.", where=str(folder), remedy="Export again.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FileError("is no manifest of an export.", where=str(path), remedy="Export again.") from None
    for name, sha256 in expected.items():
        if not _is_plain(name) or _hash_of(folder / name) != sha256:
            what = f"is an incomplete export: {name} is missing or not the file that was checked."
            raise ExportError(what, where=str(folder), remedy="Export again.")
    return manifest


def check_member(path: Path) -> None:
    """Raise ExportError for a file that lies in an incomplete export."""
    if path.name in named_by_manifest(path.parent):
        read_manifest(path.parent)
    elif path.name in named_by_manifest(path.parent / ASIDE) and not (path.parent / ASIDE / path.name).exists():
        what = "is an incomplete export: it was stopped before its manifest was in place."
        raise ExportError(what, where=str(path.parent), remedy="Export again.")


def _is_plain(name: Any) -> bool:
    """True for the name of a file right in the folder."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", "..")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(file: Path) -> str | None:
    try:
        return _hash(file.read_bytes())
    except OSError:
        return None
