"""Everything that can go wrong for a user, as one tree.

StudioError
├── FileError       a file: missing, damaged, of another kind, not writable
│   └── ModelError  a model file that is read but not understood
├── DataError       samples, labels, preprocessing
├── PlanError       a plan, a step, a setting, a layer's name
│   └── Refused     a technique or a target that does not take this layer
├── ExportError     an export that cannot be written or does not agree
└── Cancelled       the user's own wish; never shown as an error

A user's mistake is one of these; a programmer's mistake stays a plain exception.
"""

from __future__ import annotations

LONGEST = 400
"""Most characters of what went wrong."""


class StudioError(Exception):
    """A user's mistake or a fault outside: what went wrong, where, and what to do about it."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = _short(what)
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{remedy}"


def _short(what: str) -> str:
    """One line of a length that is read; a damaged file can put thousands of numbers into a message."""
    line = " ".join(what.splitlines())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


class FileError(StudioError):
    """A file that is missing, damaged, of another kind or not writable."""


class ModelError(FileError):
    """A model file that is read but holds something that is not understood."""


class DataError(StudioError):
    """Samples, labels or preprocessing that do not fit."""


class PlanError(StudioError):
    """A plan, a step, a setting or a layer's name that does not fit."""


class Refused(PlanError):
    """A technique or an export target that does not take this layer, with the reason."""


class ExportError(StudioError):
    """An export that cannot be written, is incomplete, or does not agree with the preview."""


class Cancelled(StudioError):
    """The user stopped the work; nothing is half-written."""

    def __init__(self) -> None:
        super().__init__("Cancelled.")
