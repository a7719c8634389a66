"""ONNX files in ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from studio.core.errors import ModelError
from studio.runtimes._base import described, timed

METADATA = "edge_studio"
INTEGERS = ":integers"
"""Ends the name of the quantized tensor behind an output; the output itself has the plain name."""
TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
}  # fmt: skip
"""Input types that samples are converted to."""


def session_of(model: bytes | str, optimized: Path | None = None) -> ort.InferenceSession:
    """Session on one thread that never saturates uint8 x int8 products.

    `model`: the file's content, or its path where tensors may lie beside it; `optimized`: where the graph
    that runs is written to.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def kernels(model: bytes | Path) -> list[tuple[str, str]]:
    """Return (operator type, first output) of the graph that ONNX Runtime really runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        session_of(model if isinstance(model, bytes) else str(model), path)
        graph = onnx.load(path, load_external_data=False).graph
        return [(node.op_type, node.output[0]) for node in graph.node]


class OnnxRunner:
    """One ONNX file with one input. Where the batch is frozen, samples run in batches of that size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._session = session_of(str(path))
        except Exception as error:
            what = f"ONNX Runtime cannot open it ({str(error).splitlines()[0]})."
            raise ModelError(what, where=str(path), remedy="Export it again.") from None
        first = self._only_input()
        self.name = f"onnxruntime {ort.__version__}"
        self._input, self._type = first.name, TYPES[first.type]
        batch, *rest = first.shape
        self._batch_size: int | None = batch if isinstance(batch, int) else None
        self.input_shape = (1, *rest)
        said = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        self.preprocess: Mapping[str, Any] | None = json.loads(said).get("preprocess") if said else None

    def _only_input(self) -> Any:
        """Return the input's description; raises ModelError for what samples cannot be fed to."""
        inputs = self._session.get_inputs()
        if [output.name for output in self._session.get_outputs()[:2]] == ["box", "score"]:
            remedy = "Measure it with `edge-studio attend FRAMES --selector NAME`, or give model.onnx."
            raise ModelError("is an attention stage: it takes whole frames.", where=str(self._path), remedy=remedy)
        where, remedy = str(self._path), "Give a model with one input of a fixed size, the batch aside."
        if len(inputs) != 1:
            raise ModelError(f"has {len(inputs)} inputs, samples are fed to one.", where=where, remedy=remedy)
        (first,) = inputs
        if first.type not in TYPES:
            raise ModelError(f"takes {first.type}, not numbers that samples have.", where=where, remedy=remedy)
        if not first.shape or not all(isinstance(size, int) for size in first.shape[1:]):
            raise ModelError(f"the size of its input is open: {first.shape}.", where=where, remedy=remedy)
        return first

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs float32 for a batch."""
        return [y.astype(np.float32, copy=False) for y in self._run(self._session, x)]

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample, on one thread; of one batch where the file freezes it."""
        feed = {self._input: self._fed(x[:1])}
        return timed(lambda: self._session.run(None, feed))

    def signature(self) -> dict[str, Any]:
        """Inputs and outputs by the names, sizes and types that a session of this file has."""
        found = {"inputs": self._session.get_inputs(), "outputs": self._session.get_outputs()}
        return {key: [self._described(entry) for entry in entries] for key, entries in found.items()}

    def _described(self, entry: Any) -> dict[str, Any]:
        layout = (self.preprocess or {}).get("layout") if len(entry.shape) == 4 else None
        dtype = np.dtype(TYPES[entry.type]).name if entry.type in TYPES else entry.type
        return described(entry.name, entry.shape, dtype, layout)

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Quantized tensors by name, shifted from uint8 to int8; a copy of the file gives them as outputs."""
        model = onnx.load(self._path)
        written = {name for node in model.graph.node for name in node.output}
        behind = {name: name + INTEGERS if name + INTEGERS in written else name for name in names}
        wanted = {name: own for name, own in behind.items() if own in written}
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=own) for own in wanted.values())
        found = self._run(session_of(model.SerializeToString()), x) if wanted else []
        rows = {name: y for name, y in zip(wanted, found, strict=True) if y.dtype == np.uint8}
        return {name: (y.astype(np.int16) - 128).astype(np.int8) for name, y in rows.items()}

    def _run(self, session: ort.InferenceSession, x: np.ndarray) -> list[np.ndarray]:
        if self._batch_size in (None, len(x)):
            found: list[np.ndarray] = session.run(None, {self._input: self._fed(x)})
            return found
        size, parts = self._batch_size or 1, []
        for at in range(0, len(x), size):
            part = x[at : at + size]
            parts.append([y[: len(part)] for y in session.run(None, {self._input: self._fed(part)})])
        return [np.concatenate(rows) for rows in zip(*parts, strict=True)]

    def _fed(self, x: np.ndarray) -> np.ndarray:
        """Samples in the input's type; a frozen batch is filled up with the last one."""
        if np.issubdtype(self._type, np.integer):
            limits = np.iinfo(self._type)  # type: ignore[type-var]
            x = np.clip(np.rint(x), limits.min, limits.max)
        missing = (self._batch_size or len(x)) - len(x)
        x = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing > 0 else x
        return x.astype(self._type, copy=False)

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
