"""What a session tells, from whatever thread, heard on the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from studio.session import Session


SIGNALS = (
    "plan_changed", "cost_changed", "estimate_changed", "result_changed", "history_changed", "progress_changed",
    "notice", "blame_changed", "effect_changed", "job_progressed", "job_finished",
)  # fmt: skip


class Bridge(QObject):
    """Qt signals of the same names as the session's; receivers run in the main thread, in order.

    Each carries the tuple of the session's arguments. After `close` nothing is delivered any more,
    so that views never hear of a session that is gone.
    """

    told = Signal(str, tuple)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open = True
        self._receivers: dict[str, list[Any]] = {name: [] for name in SIGNALS}
        self.told.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        for name in SIGNALS:
            getattr(session, name).connect(self._sender(name), check_nargs=False)

    def _sender(self, name: str) -> Any:
        def send(*arguments: Any) -> None:
            if self._open:
                self.told.emit(name, arguments)

        return send

    def on(self, name: str, receiver: Any) -> None:
        """Call `receiver(*arguments)` on the main thread whenever the session emits `name`."""
        self._receivers[name].append(receiver)

    def _deliver(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self._open:
            for receiver in self._receivers[name]:
                receiver(*arguments)

    def close(self) -> None:
        """Deliver nothing more."""
        self._open = False
