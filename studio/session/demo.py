"""The bundled demo as a session: files made by `resources/make_demo.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import paths
from studio.core.plan import Attention, Plan
from studio.session.opening import open_session

if TYPE_CHECKING:
    from studio.session import Session


def open_demo(plan: Plan | None = None, progress: Callable[[str, int, int], None] | None = None) -> Session:
    """Open the demo's network with its test crops; few others are for calibration and training."""
    folder = paths.resource("demo")
    few = folder / "crops_calibration.npz"
    return open_session(
        folder / "parts.onnx",
        folder / "crops_test.npz",
        calibration=few,
        train=few,
        plan=plan,
        progress=progress,
    )


def frames() -> Path:
    """Frames of the belt with the box of the part of interest."""
    return paths.resource("demo") / "frames"


def with_attention(plan: Plan, attention: Attention) -> Plan:
    """Return the plan with an attention stage in front."""
    return replace(plan, attention=attention)
