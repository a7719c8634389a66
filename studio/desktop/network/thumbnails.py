"""What cards and inspector draw of each layer, computed beside the main thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from studio.core import registry
from studio.core.errors import StudioError
from studio.desktop.beside import Beside, Work
from studio.desktop.network.figures import LayerRow, row_of

if TYPE_CHECKING:
    from studio.session import Session
    from studio.session.layer_view import LayerView

BINS = 31
DETAIL = 4
"""Bins of the inspector for each bin of a card."""
CRITERION = "l2"
"""Score that needs weights only, so that the stripe is there before any data was run."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """What a card shows. Counts are scaled to a maximum of 1."""

    before: np.ndarray  # (BINS,)
    after: np.ndarray  # (BINS,) of the weights as the plan stores them
    importance: np.ndarray  # (channels,) in the order of the file, 0..1
    dead: np.ndarray  # (channels,) True where the plan cuts the channel or leaves no weight


@dataclass(frozen=True, eq=False)
class Thumbnail(Sketch):
    """What is drawn of one layer, the inspector's charts too."""

    counts_before: np.ndarray  # (BINS * DETAIL,) for the inspector
    counts_after: np.ndarray
    edges: np.ndarray  # (BINS * DETAIL + 1,)
    levels: np.ndarray  # weight values that may be stored: levels of a grid or centroids; empty in float
    row: LayerRow
    parts: tuple[str, ...]  # of a layer in factors: name, shape and size of each; nothing else


class Thumbnails(Beside):
    """Thumbnails of a session's layers; `ready(name)` tells of each new one.

    `scored(name, criterion, scores or message)` answers `score`.
    """

    ready = Signal(str)
    scored = Signal(str, str, object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        self._session = session
        self._known: dict[str, Thumbnail] = {}
        self._todo = [layer.name for layer in session.graph.weighted]
        self._asked: tuple[str, str] | None = None
        super().__init__("thumbnails", parent)

    def find(self, name: str) -> Thumbnail | None:
        """Return the thumbnail of a layer, or None while it is being made."""
        return self._known.get(name)

    def refresh(self, names: Iterable[str], first: str | None = None) -> None:
        """Make thumbnails again: the plan changed these layers; `first` goes before all others."""
        with self._asking():
            self._todo += [name for name in names if name not in self._todo]
            if first in self._todo:
                self._todo.remove(str(first))
                self._todo.insert(0, str(first))

    def score(self, name: str, criterion: str) -> None:
        """Score the channels of a layer; a newer question takes the place of one not yet answered."""
        with self._asking():
            self._asked = (name, criterion)

    def _next(self) -> Work | None:
        if self._todo:
            return partial(self._make, self._todo.pop(0))
        if self._asked is not None:
            asked, self._asked = self._asked, None
            return partial(self._score, *asked)
        return None

    def _make(self, name: str) -> None:
        try:
            self._known[name] = make(self._session, name)
        except StudioError:
            return  # a plan that changed meanwhile; its own refresh follows
        self.ready.emit(name)

    def _score(self, name: str, criterion: str) -> None:
        try:
            answer: np.ndarray | str = self._session.layer(name).importance(criterion)
        except StudioError as error:
            answer = str(error.what)
        self.scored.emit(name, criterion, answer)


def make(session: Session, name: str) -> Thumbnail:
    """Thumbnail of one layer under the session's current plan."""
    view = session.layer(name)
    before, edges = view.histogram(BINS * DETAIL)
    after, _ = view.histogram(BINS * DETAIL, compressed=True)
    scores = view.importance(CRITERION)
    scaled = scores / (float(scores.max()) or 1.0)
    return Thumbnail(
        *_small(before, after), scaled, silent_channels(view), before, after, edges, view.levels,
        row_of(session, name), factors(view),
    )  # fmt: skip


def _small(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (BINS * DETAIL,) as a card shows them, (BINS,): the highest bar in float is 1, higher ones are cut off."""
    small, small_after = (counts.reshape(BINS, DETAIL).sum(1) for counts in (before, after))
    peak = float(small.max()) or 1.0
    return small / peak, np.minimum(small_after / peak, 1.0)


def together(layers: Sequence[Thumbnail]) -> Sketch:
    """All weights of several layers on the axis of the widest, and their channels one layer after the other."""
    widest = max((one.edges for one in layers), key=lambda edges: float(edges[-1]))
    counts = np.zeros((2, len(widest) - 1))
    for one in layers:
        middles = (one.edges[:-1] + one.edges[1:]) / 2
        for total, own in zip(counts, (one.counts_before, one.counts_after), strict=True):
            total += np.histogram(middles, widest, weights=own)[0]
    importance = np.concatenate([one.importance for one in layers])
    return Sketch(*_small(*counts), importance, np.concatenate([one.dead for one in layers]))


def factors(view: LayerView) -> tuple[str, ...]:
    """Factors of a layer with shape, packed size and what they could not take over; nothing for a whole layer."""
    if len(view.parts) < 2:
        return ()
    without: dict[str, str] = {}
    for skipped in view.skipped:
        without[skipped.layer] = f" without {registry.find('techniques', skipped.technique).title.lower()}"
    return tuple(
        f"{name.removeprefix(view.name)} {'×'.join(map(str, one.shape))} {one.bits() / 8192:,.1f} KiB"
        + without.get(name, "")
        for name, one in view.parts.items()
    )


def silent_channels(view: LayerView) -> np.ndarray:
    """(channels,) True where the plan cuts the channel or leaves no weight."""
    assert view.weight is not None
    if view.kept is not None:
        return ~view.kept
    channels = view.weight.shape[view.layer.channel_axis]
    if view.encoding is None or view.encoding.shape != view.weight.shape:
        return np.zeros(channels, dtype=bool)
    decoded = np.moveaxis(view.encoding.decode(), view.layer.channel_axis, 0)
    return np.asarray(~decoded.reshape(channels, -1).any(axis=1))
