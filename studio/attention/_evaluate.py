"""Measure an attention stage on frames with boxes, beside its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from studio.attention._selector import Box, Size, clipped
from studio.attention._stage import Stage
from studio.core import registry
from studio.core.errors import Cancelled, DataError
from studio.core.metrics import top1, wilson
from studio.core.settings import validate

BASELINES = ("centre", "full", "scaled")
CHUNK = 50
PIXELS = 50 * 128 * 128
"""The network sees at most `CHUNK` pictures and about `PIXELS` pixels together."""

Progress = Callable[[str, int, int], None]


class LabelledBox(Protocol):
    """A box of a frame: left, top, right, bottom in pixels, and what it holds."""

    @property
    def xyxy(self) -> Sequence[float]:
        """Corners."""

    @property
    def label(self) -> str:
        """Class name."""


class Frames(Protocol):
    """Frames with boxes, read one by one."""

    @property
    def count(self) -> int:
        """How many."""

    def frame(self, i: int) -> np.ndarray:
        """Frame i, uint8 (h, w, 3)."""

    def boxes(self, i: int) -> Sequence[LabelledBox]:
        """All boxes of frame i."""


@dataclass(frozen=True)
class Classifier:
    """What the measurement needs of a network. `run` takes uint8 (n, h, w, 3) and gives (n, classes)."""

    size: Size  # input height and width
    macs: int  # at this size
    run: Callable[[np.ndarray], np.ndarray]
    classes: tuple[str, ...] = ()
    full_macs: Callable[[Size], int] | None = None  # at a frame's size; None where the network cannot
    run_full: Callable[[np.ndarray], np.ndarray] | None = None  # as `run`, at a frame's size
    full_reason: str | None = None  # why the network cannot run at a frame's size


@dataclass(frozen=True)
class Observation:
    """What one stage did on one frame."""

    frame: int
    size: Size  # of the frame
    box: Box
    score: int
    awake: bool
    truth: Box | None  # the box of the class that is covered best; None where the frame holds none
    label: str | None  # of the truth
    covered: float  # share of the truth's area inside the box
    iou: float
    answer: int | None  # class that the network names; None where it has no such class, or nothing to name


@dataclass(frozen=True)
class Watched:
    """All observations of one stage; `stages` holds it for every size of frame met."""

    stage: Stage
    stages: Mapping[Size, Stage]
    rows: tuple[Observation, ...]
    classes: tuple[str, ...] = ()  # that the network knows, in the order of its outputs

    @property
    def found(self) -> tuple[Observation, ...]:
        """Frames that hold the class."""
        return tuple(row for row in self.rows if row.truth is not None)


def overlap(box: Box, truth: Sequence[float]) -> tuple[float, float]:
    """Return the share of the truth's area inside the box, and intersection over union."""
    width = max(0.0, min(box[2], truth[2]) - max(box[0], truth[0]))
    height = max(0.0, min(box[3], truth[3]) - max(box[1], truth[1]))
    inside = width * height
    area = (truth[2] - truth[0]) * (truth[3] - truth[1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + area - inside
    return (inside / area if area > 0 else 0.0), (inside / union if union > 0 else 0.0)


def observe(
    frames: Frames,
    stages: Sequence[Stage],
    *,
    class_name: str | None = None,
    classifier: Classifier | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Watched]:
    """Run every stage over all frames, each frame read once; frames may differ in size.

    The network is run where its answer can be right or wrong: on frames that hold the class, and only if
    it knows all these classes.
    """
    wanted_labels = labels_of(frames, class_name)
    able = classifier is not None and bool(wanted_labels) and wanted_labels <= set(classifier.classes)
    eyes = [_Eye(stage, classifier, able) for stage in stages]
    for i in range(frames.count):
        if cancelled and cancelled():
            raise Cancelled
        frame = frames.frame(i)
        wanted = [b for b in frames.boxes(i) if class_name is None or b.label == class_name]
        for eye in eyes:
            eye.look(i, frame, wanted)
        if progress:
            progress("Selective attention", i + 1, frames.count)
    return [eye.watched() for eye in eyes]


class _Eye:
    """Collects the observations of one stage; runs the network chunk by chunk."""

    def __init__(self, stage: Stage, classifier: Classifier | None, able: bool) -> None:
        self._stage = stage
        self._stages = {stage.frame: stage}
        self._classes = classifier.classes if classifier else ()
        self._full = stage.selector.name == "full"
        self._run = None if classifier is None or not able else classifier.run_full if self._full else classifier.run
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[np.ndarray] = []
        self._places: list[int] = []  # rows that the waiting pictures belong to

    def look(self, i: int, frame: np.ndarray, wanted: Sequence[LabelledBox]) -> None:
        size = frame.shape[0], frame.shape[1]
        if size not in self._stages:
            self._stages[size] = self._stage.on(size)
        stage = self._stages[size]
        found = stage.select(frame)
        fits = [overlap(found.box, box.xyxy) for box in wanted]
        best = max(range(len(fits)), key=fits.__getitem__) if fits else None
        covered, iou = (0.0, 0.0) if best is None else fits[best]
        truth = None if best is None else _corners(wanted[best])
        self._rows.append({
            "frame": i, "size": size, "box": found.box, "score": found.score, "awake": stage.wakes(found),
            "truth": truth, "label": None if best is None else wanted[best].label, "covered": covered, "iou": iou,
            "answer": None,
        })  # fmt: skip
        if self._run is not None and truth is not None:
            self._wait(frame if self._full else stage.cut(frame, found))

    def _wait(self, picture: np.ndarray) -> None:
        """Collect pictures of one size; run the network when there are enough, or another size comes."""
        if self._waiting and self._waiting[0].shape != picture.shape:
            self._flush()
        self._waiting.append(picture)
        self._places.append(len(self._rows) - 1)
        if len(self._waiting) >= max(1, min(CHUNK, PIXELS // (picture.shape[0] * picture.shape[1]))):
            self._flush()

    def _flush(self) -> None:
        if self._run is not None and self._waiting:
            answers = top1(self._run(np.stack(self._waiting))).tolist()
            for place, answer in zip(self._places, answers, strict=True):
                self._rows[place]["answer"] = answer
            self._waiting.clear()
            self._places.clear()

    def watched(self) -> Watched:
        self._flush()
        return Watched(self._stage, self._stages, tuple(Observation(**row) for row in self._rows), self._classes)


def attend(
    frames: Frames,
    selector: str,
    settings: Mapping[str, Any] | None = None,
    *,
    crop: Size | None = None,
    hit: float = 0.9,
    class_name: str | None = None,
    classifier: Classifier | None = None,
    compare: Sequence[str] = BASELINES,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Measure one selector beside others with their default settings; the result is `attend --json`.

    `crop` is the window in frame pixels (default: the network's input size). Raises DataError where there
    is nothing to measure and PlanError for settings that do not fit.
    """
    chosen = [(selector, dict(settings or {})), *((name, {}) for name in compare if name != selector)]
    for name, values in chosen:
        validate(registry.find("attention", name).settings, values, name)
    size = classifier.size if classifier else crop
    if size is None:
        raise DataError("there is no crop size.", where="attend", remedy="Give --crop HxW, or a model with --model.")
    if frames.count == 0:
        raise DataError("there are no frames.", where="attend", remedy="Choose a folder that holds pictures.")
    _known_class(frames, class_name)
    shape = frames.frame(0).shape
    frame = shape[0], shape[1]
    size = size if classifier else clipped(frame, size)
    stages = [Stage.of(name, values, frame=frame, size=size, crop=crop) for name, values in chosen]
    watched = observe(
        frames, stages, class_name=class_name, classifier=classifier, progress=progress, cancelled=cancelled
    )
    return summarise(watched, hit=hit, class_name=class_name, classifier=classifier)


def summarise(
    watched: Sequence[Watched], *, hit: float = 0.9, class_name: str | None = None, classifier: Classifier | None = None
) -> dict[str, Any]:
    """JSON of `attend`: the first stage, and under `selectors` the others with the same fields."""
    ends = {w.stage.selector.name: end_accuracy(w) for w in watched}
    rows = [_row(w, ends, hit, class_name, classifier) for w in watched]
    return {**rows[0], "selectors": rows[1:]}


def end_accuracy(watched: Watched) -> float | None:
    """Share of the frames with the class on which the network was woken and names it; None where it cannot be told."""
    rows = watched.found
    if not rows or any(row.answer is None or row.label not in watched.classes for row in rows):
        return None
    right = [row.awake and row.answer == watched.classes.index(str(row.label)) for row in rows]
    return float(np.mean(right))


def _row(
    w: Watched, ends: Mapping[str, float | None], hit: float, class_name: str | None, classifier: Classifier | None
) -> dict[str, Any]:
    found = w.found
    hits = [row.covered >= hit and row.awake for row in found]
    rate = float(np.mean(hits)) if hits else None
    accuracy = None if all(value is None for value in ends.values()) else _accuracy(w, ends, classifier)
    return {
        "selector": w.stage.selector.name,
        "settings": w.stage.settings.model_dump(),
        "class": class_name,
        "crop": list(w.stage.window),
        "frames": len(w.rows),
        "hits": {
            "rate": rate,
            "threshold": hit,
            "interval": None if rate is None else list(wilson(rate, len(hits))),
            "frames": len(found),
        },
        "iou_mean": float(np.mean([row.iou for row in found])) if found else None,
        "pixels_kept": _mean(w, lambda stage: stage.pixels_kept),
        "accuracy": accuracy,
        "accuracy_note": None if accuracy else _why_none(w, classifier),
        "macs": _macs(w, classifier),
        "skipped_rate": float(np.mean([not row.awake for row in w.rows])),
        "gate": _gate(w),
    }


def _accuracy(w: Watched, ends: Mapping[str, float | None], classifier: Classifier | None) -> dict[str, Any]:
    """Own end accuracy beside those of the baselines, with the reason where `full` cannot be run."""
    own = ends[w.stage.selector.name]
    return {
        "with": own,
        **{name: ends.get(name) for name in ("full", "scaled", "centre")},
        "full_reason": classifier.full_reason if classifier and ends.get("full") is None else None,
        "interval": None if own is None else list(wilson(own, len(w.found))),
    }


def _why_none(w: Watched, classifier: Classifier | None) -> str:
    if classifier is None:
        return "No network was given."
    if not w.found:
        return "No frame holds the class."
    labels = sorted({str(row.label) for row in w.found} - set(w.classes))
    if not w.classes:
        return "The network does not say which classes it knows."
    return f"The network knows no class {', '.join(labels)}."


def _macs(w: Watched, classifier: Classifier | None) -> dict[str, Any]:
    """Multiply-accumulates a frame. Stage 1 counts its integer operations; `behind_gate` is the mean with the gate."""
    of_full = classifier.full_macs if classifier else None
    full = None if of_full is None else _mean(w, lambda stage: of_full(stage.frame))
    own = None if classifier is None else full if w.stage.selector.name == "full" else classifier.macs
    first = _mean(w, lambda stage: stage.operations)
    awake = float(np.mean([row.awake for row in w.rows]))
    return {
        "stage1": round(first),
        "stage2": None if own is None else round(own),
        "full": None if full is None else round(full),
        "full_reason": classifier.full_reason if classifier and full is None else None,
        "scaled": classifier.macs if classifier else None,
        "behind_gate": None if own is None else first + own * awake,
    }


def _mean(w: Watched, of: Callable[[Stage], float]) -> float:
    """Mean over the frames of what depends on their size only."""
    values = {size: of(stage) for size, stage in w.stages.items()}
    return float(np.mean([values[row.size] for row in w.rows]))


def _gate(w: Watched) -> dict[str, Any]:
    """How the gate decides: frames with and without the class that wake the network."""
    holds = np.array([row.truth is not None for row in w.rows])
    awake = np.array([row.awake for row in w.rows])
    return {
        "threshold": w.stage.threshold,
        "with_class": int(holds.sum()),
        "with_class_awake": int((holds & awake).sum()),
        "without_class": int((~holds).sum()),
        "without_class_awake": int((~holds & awake).sum()),
    }


def _corners(box: LabelledBox) -> Box:
    left, top, right, bottom = (round(v) for v in box.xyxy)
    return left, top, right, bottom


def labels_of(frames: Frames, class_name: str | None = None) -> set[str]:
    """Labels of all boxes, or the one asked for where a box has it."""
    found = {box.label for i in range(frames.count) for box in frames.boxes(i)}
    return found if class_name is None else found & {class_name}


def _known_class(frames: Frames, class_name: str | None) -> None:
    """Raise DataError that lists the classes where no box has the one asked for."""
    if class_name is not None and not labels_of(frames, class_name):
        known = ", ".join(sorted(labels_of(frames))) or "none"
        raise DataError(f"no box is labelled '{class_name}'.", where="attend", remedy=f"Classes here: {known}.")
