"""The attention stage of an export: `attention.onnx` and `pipeline.onnx`, written, run on frames, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import Selection, Stage
from studio.attention._evaluate import overlap
from studio.attention._selector import Box
from studio.core.errors import Cancelled, ExportError
from studio.core.metrics import wilson
from studio.core.plan import Attention
from studio.data import Preprocess, prepare
from studio.data.frames import Frames, open_frames
from studio.engine.attend import input_size
from studio.export.folder import ExportFolder

Progress = Callable[[str, int, int], None]
ATTENTION, PIPELINE = "attention.onnx", "pipeline.onnx"
SNIPPET = """import onnxruntime as ort
options = ort.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", "1")
session = ort.InferenceSession("pipeline.onnx", options)
# frame: uint8 {frame}, RGB as the camera gives it
box, score, *outputs = session.run(None, {{"frame": frame}})
if score < {threshold}: outputs = None  # nothing there: the gate is yours
"""


@dataclass(frozen=True)
class AttentionExport:
    """What is to be written, checked before the first file: see `plan_attention`."""

    attention: Attention
    stage: Stage
    frames: Frames
    preprocess: Preprocess
    input_shape: tuple[int, ...]

    def write(
        self, folder: ExportFolder, network: bytes | None, classes: tuple[str, ...] = (),
        *, warning: str | None = None, progress: Progress | None = None, stop: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Write both files, run them on all frames of the stage's size, and describe them for the manifest.

        `network`: bytes of `model.onnx`; without it there is no pipeline. `warning`: what is said of
        `model.onnx` and so holds for the pipeline. A file whose box, score, pixels
        or outputs differ from Python's in one bit has `passed` false.
        """
        from studio.export._attention import join, write_attention

        files = {ATTENTION: write_attention(self.attention, self.stage.frame, self.stage.size)}
        if network is not None:
            files[PIPELINE] = join(files[ATTENTION], network, self.preprocess.to_json())
        written = [folder.write(name, content) for name, content in files.items()]
        run = _Run(self, files, network, classes)
        for i in range(self.frames.count):
            if stop and stop():
                raise Cancelled
            if self.frames.size(i) == self.stage.frame:
                run.frame(i)
            if progress:
                progress("Running the attention stage in ONNX Runtime", i + 1, self.frames.count)
        rows = [{**run.row(path), "path": str(folder.place(path.name))} for path in written]
        if warning and network is not None:
            rows[-1]["notes"].append(warning)
        return {**self._describe(), "files": rows}

    def _describe(self) -> dict[str, Any]:
        stage = self.stage
        return {
            "selector": stage.selector.name,
            "settings": stage.settings.model_dump(),
            "threshold": stage.threshold,
            "frame": [*stage.frame, 3],
            "crop": list(stage.window),
            "input": list(stage.size),
            "operations": stage.operations,
            "frames": self.frames.source,
            "snippet": SNIPPET.format(frame=(*stage.frame, 3), threshold=stage.threshold),
        }


def plan_attention(
    attention: Attention | None, frames: Path | str | None, input_shape: tuple[int, ...], preprocess: Preprocess
) -> AttentionExport | None:
    """Check everything before anything is written; None for a plan without attention.

    The frames give the size that the graphs are made for. Raises ExportError, PlanError or DataError.
    """
    if attention is None:
        return None
    if frames is None:
        remedy = "Give frames with --frames (in the app: Attention), or take attention out of the plan."
        what = "the plan has an attention stage, but the size of the frames is not known."
        raise ExportError(what, where=ATTENTION, remedy=remedy)
    if attention.selector == "full":
        remedy = "Take attention out of the plan, or choose another selector."
        raise ExportError("the whole frame at full resolution needs no attention stage.", where="full", remedy=remedy)
    source = open_frames(frames)
    size = input_size(input_shape, preprocess)
    stage = Stage.of(attention.selector, attention.settings, frame=source.size(0), size=size, crop=attention.crop)
    return AttentionExport(attention, stage, source, preprocess, input_shape)


class _Run:
    """Runs the files frame by frame beside Python and counts what is equal."""

    def __init__(
        self, made: AttentionExport, files: Mapping[str, bytes], network: bytes | None, classes: tuple[str, ...]
    ) -> None:
        from studio.runtimes.onnxruntime import session_of

        self._made, self._classes = made, classes
        self._sessions = {name: session_of(content) for name, content in files.items()}
        self._network = None if network is None else session_of(network)
        self._equal = dict.fromkeys(files, 0)
        self._count = 0
        self._right: list[bool] = []
        self._first: np.ndarray | None = None

    def frame(self, i: int) -> None:
        stage, frame = self._made.stage, self._made.frames.frame(i)
        self._count += 1
        self._first = frame if self._first is None else self._first
        found = stage.select(frame)
        crop = stage.cut(frame, found)
        self._compare(ATTENTION, frame, found, [crop])
        if self._network is not None:
            x = prepare([crop], self._made.preprocess, self._made.input_shape)
            outputs = self._network.run(None, {self._network.get_inputs()[0].name: x})
            self._compare(PIPELINE, frame, found, outputs)
            self._judge(i, found.box, stage.wakes(found), outputs[0])

    def _compare(self, name: str, frame: np.ndarray, found: Selection, expected: list[Any]) -> None:
        """Count a frame on which box, score and all that follows are equal bit for bit."""
        box, score, *rest = self._sessions[name].run(None, {"frame": frame})
        same = tuple(box.tolist()) == found.box and int(score) == found.score
        self._equal[name] += same and all(np.array_equal(a, b) for a, b in zip(rest, expected, strict=True))

    def _judge(self, i: int, box: Box, awake: bool, output: np.ndarray) -> None:
        """Right or wrong, where the frame holds something that the network knows."""
        known = [b for b in self._made.frames.boxes(i) if b.label in self._classes]
        if known:
            best = max(known, key=lambda b: overlap(box, b.xyxy))
            self._right.append(awake and int(output.argmax()) == self._classes.index(best.label))

    def row(self, path: Path) -> dict[str, Any]:
        import onnxruntime

        from studio.runtimes._base import timed

        session, frame = self._sessions[path.name], self._first
        median, p90 = timed(lambda: session.run(None, {"frame": frame}))
        equal = self._equal[path.name]
        judged = self._right if path.name == PIPELINE else []
        notes = (
            [] if equal == self._count else [f"differs from Python in {self._count - equal} of {self._count} frames"]
        )
        return {
            "format": path.stem,
            "path": str(path.resolve()),
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "file_bytes": path.stat().st_size,
            "frames": self._count,
            "equal_to_python": equal,
            "metric": "top1" if judged else None,
            "value": float(np.mean(judged)) if judged else None,
            "samples": len(judged),
            "interval": list(wilson(float(np.mean(judged)), len(judged))) if judged else None,
            "notes": notes,
            "passed": not notes,
            "latency_ms": {"median": median, "p90": p90},
        }
