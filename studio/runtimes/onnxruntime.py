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
from onnx import TensorProto, helper

from studio.core.errors import ModelError
from studio.runtimes._base import timed

METADATA = "edge_studio"


def session_of(content: bytes, optimized: Path | None = None) -> ort.InferenceSession:
    """Session on one thread that never saturates uint8 x int8 products; `optimized`: where its graph goes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def kernels(content: bytes) -> list[tuple[str, str]]:
    """Return (operator type, first output) of the graph that ONNX Runtime really runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        session_of(content, path)
        return [(node.op_type, node.output[0]) for node in onnx.load(path).graph.node]


class OnnxRunner:
    """One ONNX file; the batch may be frozen to 1, samples then run singly."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        try:
            self._session = session_of(self._content)
        except Exception as error:
            what = f"ONNX Runtime cannot open it ({str(error).splitlines()[0]})."
            raise ModelError(what, where=str(path), remedy="Export it again.") from None
        first = self._session.get_inputs()[0]
        self.name = f"onnxruntime {ort.__version__}"
        self._fixed = isinstance(first.shape[0], int) and first.shape[0] == 1
        self.input_shape = (1, *(int(d) for d in first.shape[1:]))
        self._input = first.name
        self._type = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}.get(first.type, np.float32)
        said = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        self.preprocess: Mapping[str, Any] | None = json.loads(said).get("preprocess") if said else None

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs float32 for a batch."""
        return [y.astype(np.float32, copy=False) for y in self._batch(self._session, x)]

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample, on one thread."""
        feed = {self._input: x[:1].astype(self._type, copy=False)}
        return timed(lambda: self._session.run(None, feed))

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Quantized tensors by name, shifted from uint8 to int8; a copy of the file gives them as outputs."""
        model = onnx.load_from_string(self._content)
        written = {name for node in model.graph.node for name in node.output}
        wanted = [name for name in names if name in written]
        del model.graph.output[:]
        model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.UINT8, None) for n in wanted)
        found = self._batch(session_of(model.SerializeToString()), x)
        return {n: (y.astype(np.int16) - 128).astype(np.int8) for n, y in zip(wanted, found, strict=True)}

    def _batch(self, session: ort.InferenceSession, x: np.ndarray) -> list[np.ndarray]:
        x = x.astype(self._type, copy=False)
        if not self._fixed or len(x) == 1:
            found: list[np.ndarray] = session.run(None, {self._input: x})
            return found
        rows = [session.run(None, {self._input: x[i : i + 1]}) for i in range(len(x))]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
