"""Cyclic garbage collected on the main thread only.

Python collects in whatever thread happens to allocate; a Qt object in a cycle would then be destroyed
in the preview's thread, which Qt answers with a crash.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

PERIOD_MS = 500


class Collector(QObject):
    """Takes over from Python's automatic collection for as long as the window lives."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        gc.disable()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._collect)
        self._timer.start(PERIOD_MS)

    def _collect(self) -> None:
        counts = gc.get_count()
        for generation in (1, 0):
            if counts[generation] > self._thresholds[generation]:
                gc.collect(generation)
                return

    def settle(self) -> None:
        """Leave a model that was opened out of every later collection, once the event loop rests.

        What was left out before is looked through then, for the model that this one has replaced.
        """
        QTimer.singleShot(PERIOD_MS, self, self._settle)

    @staticmethod
    def _settle() -> None:
        if gc.get_freeze_count():
            gc.unfreeze()
            gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Give the work back to Python."""
        self._timer.stop()
        gc.enable()
