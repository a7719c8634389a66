"""One piece of work beside the main thread, with progress and cancel, answered on the main thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from studio.core.errors import Cancelled

Report = Callable[[str, int, int], None]
Stop = Callable[[], bool]
Work = Callable[[Report, Stop], Any]
PERIOD_S = 0.1
"""Progress is told this often at most."""


class Job(QObject):
    """Runs one piece of work at a time in a thread of its own.

    `done(answer)`, `failed(error)`, `cancelled()`, `progressed(title, done, total)` come on the thread
    that made the job. Work that was replaced by newer work tells nothing any more.
    """

    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    progressed = Signal(str, int, int)
    _told = Signal(int, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._number = 0
        self._busy = False
        self._thread: Thread | None = None
        self._told.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """True until the answer of the newest work was told."""
        return self._busy

    def start(self, work: Work) -> None:
        """Run `work(progress, stop)`; older work is asked to stop and its answer dropped."""
        self._number += 1
        number, before = self._number, self._thread

        def run() -> None:
            if before is not None:
                before.join()
            self._run(work, number)

        self._busy = True
        self._thread = Thread(target=run, name="job", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the work to stop and drop its answer."""
        if self._busy:
            self._number += 1
            self._busy = False
            self.cancelled.emit()

    def wait(self) -> None:
        """Stop, and block until the thread has ended."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self, work: Work, number: int) -> None:
        last = 0.0

        def progress(title: str, done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PERIOD_S or done == total:
                last = now
                self._tell(number, "progressed", (title, done, total))

        try:
            answer = work(progress, lambda: number != self._number)
        except Cancelled:
            return
        except Exception as error:
            self._tell(number, "failed", error)
            return
        self._tell(number, "done", answer)

    def _tell(self, number: int, what: str, value: Any) -> None:
        # The window may be gone by now, and with it this object's Qt half.
        with suppress(RuntimeError):
            self._told.emit(number, what, value)

    def _deliver(self, number: int, what: str, value: Any) -> None:
        if number != self._number:
            return
        if what == "progressed":
            self.progressed.emit(*value)
            return
        self._busy = False
        (self.done if what == "done" else self.failed).emit(value)
