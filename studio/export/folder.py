"""The export folder: files one by one, the manifest last; what is not ours is never touched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.core import paths
from studio.core.errors import ExportError, FileError

MANIFEST = "manifest.json"


class ExportFolder:
    """One export being written. A kill at any moment leaves the old export or one that readers call incomplete."""

    def __init__(self, folder: Path, force: bool = False) -> None:
        """Raise ExportError where the folder holds files that no manifest names, unless `force`."""
        self.folder = folder.expanduser().resolve()
        self._old = named_by_manifest(self.folder)
        self._written: dict[str, bytes] = {}
        if self.folder.exists() and not self.folder.is_dir():
            raise ExportError("is a file, not a folder.", where=str(self.folder), remedy="Choose another folder.")
        strange = [p.name for p in self._others() if p.name not in self._old]
        if strange and not force:
            names = ", ".join(sorted(strange)[:3]) + (" ..." if len(strange) > 3 else "")
            remedy = "Choose an empty folder, or write beside them with --force."
            raise ExportError(f"holds files that are not of an export: {names}.", where=str(self.folder), remedy=remedy)

    def _others(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [p for p in self.folder.iterdir() if not (p.name.startswith(".") and p.name.endswith(".tmp"))]

    def __enter__(self) -> ExportFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what was written where the export did not come to its end; the old one is then incomplete too."""
        if kind is None:
            return
        for name in self._written:
            (self.folder / name).unlink(missing_ok=True)
        if self._written and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def write(self, name: str, content: bytes) -> Path:
        """Write one file beside, synced and renamed; returns its path."""
        self._written[name] = content
        paths.write_bytes(self.folder / name, content)
        return self.folder / name

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest with hashes and sizes, then remove files that only the old one names."""
        files = {n: {"sha256": _hash(c), "bytes": len(c)} for n, c in self._written.items()}
        whole = {"format": 1, "files": files, **manifest}
        paths.write_text(self.folder / MANIFEST, json.dumps(whole, indent=2) + "\n")
        for name in self._old - files.keys() - {MANIFEST}:
            (self.folder / name).unlink(missing_ok=True)
        return whole


def named_by_manifest(folder: Path) -> set[str]:
    """Names of the files that a folder's manifest names, itself included; empty without one."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {MANIFEST} | {name for name in files if Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a complete export; raises FileError or ExportError for an incomplete one."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
        expected = {name: str(entry["sha256"]) for name, entry in files.items()}
    except OSError:
        raise FileError("is no export: it has no manifest.json.", where=str(folder), remedy="Export again.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FileError("is no manifest of an export.", where=str(path), remedy="Export again.") from None
    for name, sha256 in expected.items():
        file = folder / name
        if Path(name).name != name or not file.is_file() or _hash(file.read_bytes()) != sha256:
            what = f"is an incomplete export: {name} is missing or not the file that was checked."
            raise ExportError(what, where=str(folder), remedy="Export again.")
    return manifest


def check_member(path: Path) -> None:
    """Raise ExportError for a file that lies in an incomplete export."""
    if path.name in named_by_manifest(path.parent):
        read_manifest(path.parent)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
