"""Questions answered beside the main thread, the newest one only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from studio.core.errors import StudioError

Question = tuple[object, Callable[[], Any]]


class Latest(QObject):
    """One thread; what waits is replaced by what is asked later, what runs is finished and told.

    `answered(key, answer)` comes on the thread that made this object; a StudioError is an answer too.
    """

    answered = Signal(object, object)
    _told = Signal(object, object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._change = Condition()
        self._asked: Question | None = None
        self._closed = False
        self._told.connect(self.answered, Qt.ConnectionType.QueuedConnection)
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, key: object, work: Callable[[], Any]) -> None:
        """Answer `work()` under a key."""
        with self._change:
            self._asked = (key, work)
            self._change.notify()

    def close(self) -> None:
        """End the thread; what runs is waited for."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._asked is not None)
                if self._closed or self._asked is None:
                    return
                (key, work), self._asked = self._asked, None
            try:
                answer: Any = work()
            except StudioError as error:
                answer = error
            with suppress(RuntimeError):  # the window may be gone by now
                self._told.emit(key, answer)
