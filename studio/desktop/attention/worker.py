"""Selects, crops and measures beside the main thread; the newest question of each kind is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from studio.core.errors import Cancelled

if TYPE_CHECKING:
    from studio.attention import Classifier
    from studio.data.frames import Frames
    from studio.session import Session


@dataclass(frozen=True)
class Choice:
    """What the user set: selector, its settings, the window in frame pixels."""

    selector: str
    settings: tuple[tuple[str, Any], ...]
    crop: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Look:
    """One frame as the stage sees it."""

    index: int
    frame: np.ndarray  # uint8 (h, w, 3)
    box: tuple[int, int, int, int]
    truth: tuple[float, ...] | None
    label: str
    heat: np.ndarray | None
    crop: np.ndarray  # uint8, what the network gets
    scores: tuple[tuple[str, float], ...]  # classes by probability, the best first
    iou: float | None
    pixels_kept: float
    score: int
    awake: bool


@dataclass(frozen=True, eq=False)
class Measurement:
    """All frames under one choice: the JSON of `attend`, and the gate's scores."""

    choice: Choice
    found: dict[str, Any]
    with_class: np.ndarray  # scores of frames that hold the class
    without: np.ndarray


class Worker(QObject):
    """`looked(Look)`, `measured(Measurement)`, `opened(Frames)`, `failed(error)`, `progress(done, total)`."""

    looked = Signal(object)
    measured = Signal(object)
    opened = Signal(object)
    failed = Signal(object)
    progress = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._change = Condition()
        self._asked: dict[str, Callable[[Callable[[], bool]], None]] = {}
        self._closed = False
        self._classifier: tuple[Any, Classifier] | None = None
        self._thread = Thread(target=self._work, name="attention", daemon=True)
        self._thread.start()

    def open(self, path: Path) -> None:
        """Open frames; answers by `opened`."""

        def work(stop: Callable[[], bool]) -> None:
            from studio.data.frames import open_frames

            self.opened.emit(open_frames(path))

        self._ask("open", work)

    def look(self, session: Session, frames: Frames, index: int, choice: Choice) -> None:
        """Run the stage and the network on one frame."""
        self._ask("look", lambda stop: self.looked.emit(self._look(session, frames, index, choice)))

    def measure(self, session: Session, frames: Frames, choice: Choice) -> None:
        """Run the stage and its baselines on all frames."""
        self._ask("measure", lambda stop: self.measured.emit(self._measure(session, frames, choice, stop)))

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _ask(self, kind: str, work: Callable[[Callable[[], bool]], None]) -> None:
        with self._change:
            self._asked[kind] = work
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._asked)
                if self._closed:
                    return
                # One frame before all frames: the picture follows the slider.
                kind = next(k for k in ("open", "look", "measure") if k in self._asked)
                work = self._asked.pop(kind)
            try:
                work(lambda: self._closed or bool(self._asked))
            except Cancelled:
                with self._change:
                    self._asked.setdefault(kind, work)
            except Exception as error:
                self.failed.emit(error)

    def _look(self, session: Session, frames: Frames, index: int, choice: Choice) -> Look:
        from studio.attention._evaluate import overlap

        frame = frames.frame(index)
        network = self._network(session, frames)
        stage = _stage(choice, frame, network.size)
        found = stage.select(frame)
        crop = stage.cut(frame, found)
        boxes = frames.boxes(index)
        best = max(boxes, key=lambda b: overlap(found.box, b.xyxy)[0], default=None)
        names = network.classes or tuple(map(str, range(100000)))
        logits = network.run(crop[None])[0].astype(np.float64).ravel()
        shares = np.exp(logits - logits.max())
        shares = logits if abs(logits.sum() - 1) < 1e-3 and logits.min() >= 0 else shares / shares.sum()
        order = np.argsort(-shares)[:3]
        return Look(
            index, frame, found.box, None if best is None else tuple(best.xyxy), "" if best is None else best.label,
            found.heat, crop, tuple((names[i], float(shares[i])) for i in order),
            None if best is None else overlap(found.box, best.xyxy)[1], stage.pixels_kept, found.score,
            stage.wakes(found),
        )  # fmt: skip

    def _measure(self, session: Session, frames: Frames, choice: Choice, stop: Callable[[], bool]) -> Measurement:
        from studio.attention import Stage, observe, summarise
        from studio.core import registry

        network = self._network(session, frames)
        frame = frames.frame(0)
        size = (frame.shape[0], frame.shape[1])
        others = [name for name in registry.names("attention") if name != choice.selector]
        stages = [_stage(choice, frame, network.size)]
        stages += [Stage.of(name, {}, frame=size, size=network.size, crop=choice.crop) for name in others]
        watched = observe(
            frames, stages, classifier=network, cancelled=stop, progress=lambda t, done, n: self.progress.emit(done, n)
        )
        rows = watched[0].rows
        scores = [np.array([r.score for r in rows if (r.truth is None) == empty]) for empty in (False, True)]
        return Measurement(choice, summarise(watched, classifier=network), scores[0], scores[1])

    def _network(self, session: Session, frames: Frames) -> Classifier:
        """Classifier of the session's float network for these frames, made once."""
        from studio.engine.attend import classifier

        key = (session, frames)
        if self._classifier is None or self._classifier[0] != key:
            assert session.data is not None
            classes = session.data.classes or ()
            made = classifier(session.network, session.data.preprocess, classes, frames.size(0))
            self._classifier = (key, made)
        return self._classifier[1]


def _stage(choice: Choice, frame: np.ndarray, size: tuple[int, int]) -> Any:
    from studio.attention import Stage

    shape = (frame.shape[0], frame.shape[1])
    return Stage.of(choice.selector, dict(choice.settings), frame=shape, size=size, crop=choice.crop)
