"""Questions answered beside the main thread, the newest one only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from studio.core.errors import StudioError
from studio.desktop.beside import Beside, Work

Question = tuple[object, Callable[[], Any]]


class Latest(Beside):
    """What waits is replaced by what is asked later, what runs is finished and told.

    `answered(key, answer)` comes on the thread that made this object; a StudioError is an answer too.
    """

    answered = Signal(object, object)
    _told = Signal(object, object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        self._asked: Question | None = None
        super().__init__(name, parent)
        self._told.connect(self.answered, Qt.ConnectionType.QueuedConnection)

    def ask(self, key: object, work: Callable[[], Any]) -> None:
        """Answer `work()` under a key."""
        with self._asking():
            self._asked = (key, work)

    def _next(self) -> Work | None:
        if self._asked is None:
            return None
        asked, self._asked = self._asked, None
        return partial(self._answer, *asked)

    def _answer(self, key: object, work: Callable[[], Any]) -> None:
        try:
            answer: Any = work()
        except StudioError as error:
            answer = error
        with suppress(RuntimeError):  # the window may be gone by now
            self._told.emit(key, answer)
