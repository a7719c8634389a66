"""Mini histograms and importance stripes, computed beside the main thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.desktop.network.figures import LayerRow, row_of

if TYPE_CHECKING:
    from studio.session import Session

BINS = 31
CRITERION = "l2"
"""Score that needs weights only, so that the stripe is there before any data was run."""


@dataclass(frozen=True)
class Thumbnail:
    """What a layer card draws; counts are scaled to a maximum of 1."""

    before: np.ndarray  # (BINS,)
    after: np.ndarray  # (BINS,) of the weights as the plan stores them
    importance: np.ndarray  # (channels,) in the order of the file, 0..1
    dead: np.ndarray  # (channels,) True where the plan leaves no weight
    row: LayerRow


class Thumbnails(QObject):
    """Thumbnails of a session's layers; `ready(name)` tells of each new one."""

    ready = Signal(str)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: dict[str, Thumbnail] = {}
        self._todo: deque[str] = deque()
        self._change = Condition()
        self._closed = False
        self._thread = Thread(target=self._work, name="thumbnails", daemon=True)
        self._thread.start()
        self.refresh(layer.name for layer in session.graph.weighted)

    def find(self, name: str) -> Thumbnail | None:
        """Return the thumbnail of a layer, or None while it is being made."""
        return self._known.get(name)

    def refresh(self, names: Iterable[str]) -> None:
        """Make thumbnails again: the plan changed these layers."""
        with self._change:
            self._todo.extend(name for name in names if name not in self._todo)
            self._change.notify()

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._todo)
                if self._closed:
                    return
                name = self._todo.popleft()
            try:
                self._known[name] = make(self._session, name)
            except StudioError:
                continue  # a plan that changed meanwhile; its own refresh follows
            self.ready.emit(name)


def make(session: Session, name: str) -> Thumbnail:
    """Thumbnail of one layer under the session's current plan."""
    view = session.layer(name)
    assert view.encoding is not None
    before, _ = view.histogram(BINS)
    after, _ = view.histogram(BINS, compressed=True)
    scores = view.importance(CRITERION)
    top = float(scores.max()) or 1.0
    decoded = np.moveaxis(view.encoding.decode(), view.layer.channel_axis, 0)
    silent = ~decoded.reshape(len(decoded), -1).any(1)
    peak = float(before.max()) or 1.0
    dead = silent if len(silent) == len(scores) else np.zeros(len(scores), dtype=bool)
    return Thumbnail(before / peak, np.minimum(after / peak, 1.0), scores / top, dead, row_of(session, name))
