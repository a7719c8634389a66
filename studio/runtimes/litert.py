"""`.tflite` files in LiteRT: XNNPACK's kernels, its default, or its reference kernels.

Files that the studio wrote say how their tensors lie (channels last); answers are in the layout of the
network they come from. Other files are taken as they are.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from studio.core.errors import ModelError
from studio.runtimes._base import described, timed

METADATA = b"studio"
LARGEST_BATCH = 100
"""Samples that run at once: more are no faster, and take memory."""
_noticed = threading.Event()


class _Place(NamedTuple):
    """How a tensor lies: shape in the network, its values in that order cut into atoms, the file's order of them."""

    shape: tuple[int, ...]
    atoms: tuple[int, ...]
    order: tuple[int, ...]

    def to_file(self, x: np.ndarray, dimensions: Sequence[int]) -> np.ndarray:
        """Batch in the network's layout -> the file's, `dimensions` with a batch of any size."""
        rows = x.reshape(len(x), *self.atoms).transpose(0, *(1 + i for i in self.order))
        return np.ascontiguousarray(rows).reshape(len(x), *dimensions[1:])

    def from_file(self, x: np.ndarray, samples: int) -> np.ndarray:
        """Batch as the file has it -> the network's layout."""
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        rows = x.reshape(samples, *(self.atoms[i] for i in self.order)).transpose(0, *(1 + i for i in back))
        return rows.reshape(samples, *self.shape[1:]) if samples > 1 else rows.reshape(self.shape)


class LiteRtRunner:
    """One .tflite on one thread; `reference` takes LiteRT's reference kernels, which round otherwise."""

    def __init__(self, path: Path, reference: bool = False) -> None:
        self._content, self._reference = path.read_bytes(), reference
        try:
            self._interpreter = _interpreter(self._content, reference)
            model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(self._content))
        except Exception as error:
            what = f"LiteRT cannot open it ({str(error).splitlines()[0]})."
            raise ModelError(what, where=str(path), remedy="Export it again.") from None
        said = _metadata(model)
        self.name = f"litert {version('ai-edge-litert')} {'reference kernels' if reference else 'x xnnpack'}"
        self.preprocess: Mapping[str, Any] | None = said.get("preprocess")
        self._inputs, self._outputs = (
            [_Place(*(tuple(part) for part in entry[1:])) for entry in said.get(key, ())]
            for key in ("inputs", "outputs")
        )
        self._layouts = {name: _Place(*map(tuple, entry)) for name, entry in said.get("layouts", {}).items()}
        detail = self._interpreter.get_input_details()[0]
        self.input_shape = self._inputs[0].shape if self._inputs else tuple(int(n) for n in detail["shape"])
        self._free = bool(said.get("free_batch", (detail["shape_signature"][:1] == -1).all()))

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs float32 for a batch; integers of the file's borders are converted with its own scales."""
        rows = [self._outputs_of(self._interpreter, part) for part in self._parts(x)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample, on one thread, conversions at the borders left out."""
        self._feed(self._interpreter, x[:1])
        return timed(self._interpreter.invoke)

    def signature(self) -> dict[str, Any]:
        """Inputs and outputs by the names, sizes, types and scales that an interpreter of this file has."""
        found = {"inputs": self._interpreter.get_input_details(), "outputs": self._interpreter.get_output_details()}
        return {key: [self._described(detail) for detail in details] for key, details in found.items()}

    def _described(self, detail: dict[str, Any]) -> dict[str, Any]:
        quantization = detail["quantization"] if detail["dtype"] == np.int8 else None
        layout = "NHWC" if self._inputs and len(detail["shape"]) == 4 else None
        dtype = np.dtype(detail["dtype"]).name
        return described(detail["name"], detail["shape_signature"], dtype, layout, quantization)

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Tensors inside by name, in the network's layout; a copy of the file gives them as outputs.

        XNNPACK's kernels compute them as they do in the file itself: keeping all tensors in the
        interpreter instead would switch XNNPACK off.
        """
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(self._content))
        graph = model.subgraphs[0]
        inputs, outputs = ([int(i) for i in indices] for indices in (graph.inputs, graph.outputs))
        written = {int(i) for op in graph.operators for i in op.outputs} | set(inputs)
        known = {tensor.name.decode(): i for i, tensor in enumerate(graph.tensors) if i in written}
        wanted = {name: known[own] for name in names if (own := _own_name(name, known)) is not None}
        added = [i for i in dict.fromkeys(wanted.values()) if i not in outputs and i not in inputs]
        graph.outputs = np.array([*outputs, *added], np.int32)
        interpreter = _interpreter(_packed(model), self._reference)
        rows = []
        for part in self._parts(x):
            self._feed(interpreter, part)
            interpreter.invoke()
            rows.append([self._found(interpreter, i, graph.tensors[i], len(part)) for i in wanted.values()])
        return {name: np.concatenate(parts) for name, *parts in zip(wanted, *rows, strict=True)}

    def _found(self, interpreter: Interpreter, index: int, tensor: Any, samples: int) -> np.ndarray:
        """Value of one tensor by its index in the file, which the interpreter keeps."""
        value = interpreter.get_tensor(index)
        place = self._layouts.get(tensor.name.decode()) if self._inputs else None
        if place is not None:
            return place.from_file(value, samples)
        found: np.ndarray = value.transpose(0, 3, 1, 2) if self._inputs and value.ndim == 4 else value
        return found

    def _parts(self, x: np.ndarray) -> list[np.ndarray]:
        size = LARGEST_BATCH if self._free else 1
        return [x[at : at + size] for at in range(0, len(x), size)]

    def _feed(self, interpreter: Interpreter, x: np.ndarray) -> None:
        detail = interpreter.get_input_details()[0]
        dimensions = (len(x), *(int(n) for n in detail["shape"][1:])) if self._free else tuple(detail["shape"])
        if tuple(detail["shape"]) != dimensions:
            interpreter.resize_tensor_input(detail["index"], dimensions)
            interpreter.allocate_tensors()
        if detail["dtype"] == np.int8:
            x = _quantized(x, *detail["quantization"])
        x = x.astype(detail["dtype"], copy=False)
        arranged = self._inputs[0].to_file(x, dimensions) if self._inputs else x.reshape(dimensions)
        interpreter.set_tensor(detail["index"], arranged)

    def _outputs_of(self, interpreter: Interpreter, x: np.ndarray) -> list[np.ndarray]:
        self._feed(interpreter, x)
        interpreter.invoke()
        found = []
        for i, detail in enumerate(interpreter.get_output_details()):
            value = interpreter.get_tensor(detail["index"])
            if value.dtype == np.int8:
                scale, zero_point = detail["quantization"]
                value = (value.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
            found.append(self._outputs[i].from_file(value, len(x)) if self._outputs else value)
        return found

    def __enter__(self) -> LiteRtRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._interpreter


def _interpreter(content: bytes, reference: bool) -> Interpreter:
    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    with nullcontext() if reference else _quiet():
        made = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
        made.allocate_tensors()
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Without LiteRT's notice that XNNPACK is there, which it writes once a process to the standard error itself."""
    if _noticed.is_set():
        yield
        return
    _noticed.set()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _quantized(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """`rint(x / s) + z`, ties to even, clamped: int8, as preview and program have it."""
    found = np.rint(x.astype(np.float32) / np.float32(scale)) + np.float32(zero_point)
    stored: np.ndarray = np.clip(found, -128, 127).astype(np.int8)
    return stored


def _metadata(model: Any) -> dict[str, Any]:
    for entry in model.metadata or ():
        if entry.name == METADATA:
            found: dict[str, Any] = json.loads(bytes(model.buffers[entry.buffer].data))
            return found
    return {}


def _own_name(name: str, known: Mapping[str, int]) -> str | None:
    """Name in the file: a quantized input carries the name of the input itself."""
    if name in known:
        return name
    plain = name.removesuffix(":int8")
    return plain if plain in known else None


def _packed(model: Any) -> bytes:
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(math.ceil(size * 1.1) + 65536)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
