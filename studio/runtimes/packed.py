"""Packed files (`model.ecs`): weights decoded from their bytes, then run by the one arithmetic."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from studio.core.errors import FileError
from studio.lowering import execute
from studio.lowering.program import Program
from studio.runtimes._base import described, timed
from studio.runtimes._packed.program import read

BATCH = 50
"""Samples that run together, the last batch filled up: layers in float give other bits in batches of another size."""


class PackedRunner:
    """One packed file, decoded when it is opened."""

    def __init__(self, path: Path) -> None:
        began = time.perf_counter()
        try:
            packed = read(path.read_bytes())
        except FileError as error:
            raise FileError(error.what, where=str(path), remedy=error.remedy) from None
        except OSError as error:
            what = f"cannot be read ({error.strerror})."
            raise FileError(what, where=str(path), remedy="Check its path and rights.") from None
        self._program = packed.program
        self._opened_ms = 1e3 * (time.perf_counter() - began)
        self.name = "packed"
        self.input_shape = self._program.tensors[self._program.inputs[0]].shape
        self.preprocess: Mapping[str, Any] | None = packed.preprocess

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs float32 for a batch."""
        found = self._run(x, self._program.outputs)
        return [found[name] for name in self._program.outputs]

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Integer tensors inside, int8, for a batch."""
        known = [name for name in names if name in self._program.tensors and self._program.tensors[name].format]
        return self._run(x, known)

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample, on one thread, decoding left out: it happens once."""
        sample, threads = _tensor(x[:1]), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return timed(lambda: execute.run_program(self._program, sample))
        finally:
            torch.set_num_threads(threads)

    def signature(self) -> dict[str, Any]:
        """Inputs and outputs are the network's own, in float32; and what decoding took: time here, decoded bytes."""
        layout = (self.preprocess or {}).get("layout")
        names = {"inputs": self._program.inputs, "outputs": self._program.outputs}
        found: dict[str, Any] = {key: [self._described(n, layout) for n in some] for key, some in names.items()}
        return found | {"decoding": {"ms": self._opened_ms, "weight_bytes": decoded_bytes(self._program)}}

    def _described(self, name: str, layout: str | None) -> dict[str, Any]:
        first, *rest = self._program.tensors[name].shape
        batch = None if self._program.free_batch else first
        return described(name, (batch, *rest), "float32", layout if len(rest) == 3 else None)

    def _run(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        parts = []
        for at in range(0, len(x), BATCH):
            part = x[at : at + BATCH]
            filled = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
            feed = filled if self._program.free_batch else part
            found = execute.run_program(self._program, _tensor(feed), keep=names)
            parts.append({name: found[name][: len(part)].numpy() for name in names})
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def __enter__(self) -> PackedRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


def decoded_bytes(program: Program) -> int:
    """RAM of all decoded weights: 1 byte each where a layer computes on integers, else 4."""
    integers = sum(op.weights.q.nbytes for op in program.operations if op.weights is not None)
    return integers + sum(op.weight.nbytes for op in program.operations if op.weight is not None)


def _tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float32))
