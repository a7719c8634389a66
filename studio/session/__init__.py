"""The one mutable object: model, data, plan with its history, results, jobs. Screen-free.

Importing the package loads nothing heavy; `Session` comes with torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.session.opening import open_session

if TYPE_CHECKING:
    from studio.session.session import Session

__all__ = ["Session", "open_session"]


def __getattr__(name: str) -> Any:
    if name == "Session":
        from studio.session.session import Session

        return Session
    raise AttributeError(f"module 'studio.session' has no attribute '{name}'")
