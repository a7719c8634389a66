"""What was opened, as plain values: enough to open it again in another session or process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.core.code import names_code


@dataclass(frozen=True)
class Opened:
    """Arguments that open a model with its data again: absolute paths and plain values.

    Data may be "package.module:function", which the user has trusted, as `factory`.
    """

    model: str
    data: str | None = None
    preprocess: dict[str, Any] | None = None
    label: str | None = None
    calibration: str | None = None
    train: str | None = None
    samples: int | None = None
    seed: int = 0
    expected: float | None = None  # accuracy that the float model is known to have, 0..1
    factory: str | None = None  # "package.module:function" that made the module; the user has trusted it
    input_shape: tuple[int, ...] | None = None  # with a batch of 1, where a module does not tell it
    prepared: dict[str, dict[str, Any]] | None = None  # by role: how its samples were prepared in the end

    @property
    def code(self) -> list[str]:
        """Functions of the user's own among model and data."""
        data = (self.data, self.calibration, self.train)
        factory = [] if self.factory is None else [self.factory]
        return factory + [source for source in data if source is not None and names_code(source)]
