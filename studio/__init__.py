"""Edge Compression Studio: open a trained network, compress it layer by layer, export it for edge hardware.

`studio.open(...)` gives a `Session`. Importing this package loads neither torch nor Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.core.jobspec import JobSpec
    from studio.core.plan import Plan, Step
    from studio.session import Session

__version__ = "0.1.0"
__all__ = ["JobSpec", "Plan", "Session", "Step", "open"]


def open(model: Any, **arguments: Any) -> Session:  # noqa: A001
    """Open a model file, or a `torch.nn.Module`, with its data.

    `arguments`: data, preprocess, label, plan, calibration, train, samples, seed; for code that makes
    the model, `factory="package.module:function"` with `trust=True`. Raises StudioError.
    """
    from studio.session import open_session

    return open_session(model, **arguments)


def __getattr__(name: str) -> Any:
    if name in ("Plan", "Step"):
        from studio.core import plan

        return getattr(plan, name)
    if name == "JobSpec":
        from studio.core.jobspec import JobSpec

        return JobSpec
    if name == "Session":
        from studio.session import Session

        return Session
    raise AttributeError(f"module 'studio' has no attribute '{name}'")
