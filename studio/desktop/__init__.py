"""The desktop app: the only place that imports PySide6."""

from __future__ import annotations

from typing import Any


def start(*, demo: bool = False, **opened: Any) -> int:
    """Open the window, on the start page, on the demo, or on a model (arguments of `open_session`)."""
    from studio.desktop.app import run

    return run(demo=demo, **opened)
