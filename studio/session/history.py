"""Undo and redo over immutable plans; a drag is one entry."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.plan import Plan


@dataclass(frozen=True)
class Entry:
    """One state of the plan. `label` says how it came about: "Quantize conv1: 4 bit"."""

    plan: Plan
    label: str
    gesture: object = None


class History:
    """Linear history with a position; a change after undo drops what was undone."""

    def __init__(self, plan: Plan) -> None:
        self._entries = [Entry(plan, "Open")]
        self._at = 0

    @property
    def plan(self) -> Plan:
        """Current plan."""
        return self._entries[self._at].plan

    @property
    def undo_label(self) -> str | None:
        """What undo would take back, or None."""
        return self._entries[self._at].label if self._at else None

    @property
    def redo_label(self) -> str | None:
        """What redo would do again, or None."""
        return self._entries[self._at + 1].label if self._at + 1 < len(self._entries) else None

    def push(self, plan: Plan, label: str, gesture: object = None) -> None:
        """Make `plan` current; an entry of the same gesture is replaced instead of added."""
        del self._entries[self._at + 1 :]
        same = gesture is not None and self._entries[-1].gesture == gesture
        if same:
            self._entries[-1] = Entry(plan, label, gesture)
        else:
            self._entries.append(Entry(plan, label, gesture))
        self._at = len(self._entries) - 1

    def move(self, by: int) -> bool:
        """Go back (-1) or forward (1); False at the end."""
        if not 0 <= self._at + by < len(self._entries):
            return False
        self._at += by
        return True
