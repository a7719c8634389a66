"""A thread beside the main thread that does one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from PySide6.QtCore import QObject

from studio.core.priority import step_back

Work = Callable[[], None]


class Beside(QObject):
    """Base of what computes for the screen. A subclass changes what it wants done inside `_asking()`.

    `_next()` takes the next piece of work, None where nothing waits; it is called while the thread holds the lock.
    Work that raises ends the thread: what may go wrong is caught inside it.
    """

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._change = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what runs is waited for."""
        with self._asking():
            self._closed = True
        self._thread.join()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Hold the lock, then wake the thread."""
        with self._change:
            yield
            self._change.notify()

    def _next(self) -> Work | None:
        raise NotImplementedError

    def _run(self) -> None:
        step_back()
        while (work := self._wait()) is not None:
            work()

    def _wait(self) -> Work | None:
        with self._change:
            while not self._closed:
                work = self._next()
                if work is not None:
                    return work
                self._change.wait()
        return None
