"""Runs a program over a data set, chunk by chunk, and computes only what is not known yet.

Chunks hold 50 samples, the last one padded; chunk k is always the same samples. So every float
result comes from a batch of the same size, and an incremental result equals a cold run bit for bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import RLock

import numpy as np
import torch
from torch import Tensor

from studio.core.errors import Cancelled
from studio.data import Dataset
from studio.engine.cache import ActivationCache
from studio.lowering import execute
from studio.lowering.program import Program

CHUNK = 50
"""Samples that are run together."""
KEPT_OUTPUTS = 256 * 1024 * 1024
"""Bytes of network outputs kept, for undo and for dots of the trade-off plot."""


class Evaluator:
    """Outputs of programs on one data set, with what is known kept between calls; threads take turns."""

    def __init__(self, dataset: Dataset, *, cache: ActivationCache | None = None, seed: int = 0) -> None:
        self.dataset = dataset
        self.order = dataset.order(seed)
        self.cache = cache or ActivationCache()
        self._outputs: OrderedDict[tuple[str, int], tuple[np.ndarray, ...]] = OrderedDict()
        self._output_bytes = 0
        self._lock = RLock()

    @property
    def chunks(self) -> int:
        """Number of chunks, the last one perhaps part-filled."""
        return -(-len(self.order) // CHUNK)

    def samples(self, chunks: int) -> int:
        """Number of samples in the first `chunks` chunks."""
        return min(chunks * CHUNK, len(self.order))

    def indices(self, chunks: int) -> np.ndarray:
        """Positions in the data set of the samples in the first `chunks` chunks."""
        return self.order[: self.samples(chunks)]

    def outputs(
        self,
        program: Program,
        chunks: int,
        *,
        target: str | None = None,
        focus: str | None = None,
        stop: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Outputs of the samples of the first `chunks` chunks: one array (samples, ...) an output.

        `target`: the runtime whose listed operators are followed. `focus`: a layer that the user is
        editing; its input is kept. `progress(done, total)` counts samples. Raises Cancelled when
        `stop()` says so between chunks.
        """
        keys = tensor_keys(program, target)
        kept = kept_tensors(program, focus)
        rows = []
        for chunk in range(chunks):
            if stop and stop():
                raise Cancelled
            with self._lock:
                self.cache.focus(keys[name] for name in kept)
                rows.append(self._chunk(program, chunk, target, keys, kept))
            if progress:
                progress(self.samples(chunk + 1), self.samples(chunks))
        return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))

    def _chunk(
        self, program: Program, chunk: int, target: str | None, keys: dict[str, str], kept: frozenset[str]
    ) -> tuple[np.ndarray, ...]:
        known = (" ".join(keys[name] for name in program.outputs), chunk)
        if known not in self._outputs:
            indices = self.order[chunk * CHUNK : (chunk + 1) * CHUNK]
            if program.free_batch:
                found = self._run(program, chunk, indices, target, keys, kept)
            else:
                single = [self._run(program, -1 - int(i), indices[j : j + 1], target, keys, kept, 1)
                          for j, i in enumerate(indices)]  # fmt: skip
                found = tuple(np.concatenate(parts) for parts in zip(*single, strict=True))
            self._remember(known, found)
        self._outputs.move_to_end(known)
        return self._outputs[known]

    def _run(
        self, program: Program, chunk: int, indices: np.ndarray, target: str | None,
        keys: dict[str, str], kept: frozenset[str], size: int = CHUNK,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        values: dict[str, Tensor] = {}
        todo = self._needed(program, chunk, keys, values)
        last = {name: i for i, op in enumerate(todo) for name in op.inputs}
        with torch.inference_mode():
            for i, op in enumerate(todo):
                for name in op.inputs:
                    if name in program.inputs and name not in values:
                        values[name] = self._input(indices, size)
                value = execute.run(op, [values[name] for name in op.inputs], target)
                values[op.output] = value
                if op.output in kept:
                    self.cache.put(keys[op.output], chunk, value)
                for name in op.inputs:
                    if last.get(name) == i and name not in program.outputs:
                        values.pop(name, None)
        return tuple(values[name].float().numpy()[: len(indices)].copy() for name in program.outputs)

    def _needed(self, program: Program, chunk: int, keys: dict[str, str], values: dict[str, Tensor]) -> list:  # type: ignore[type-arg]
        """Operations still to run, in order; kept tensors that they read are put into `values`."""
        wanted, todo = set(program.outputs), []
        for op in reversed(program.operations):
            if op.output not in wanted:
                continue
            known = self.cache.get(keys[op.output], chunk)
            if known is not None:
                values[op.output] = known
            else:
                todo.append(op)
                wanted.update(op.inputs)
        return todo[::-1]

    def _input(self, indices: np.ndarray, size: int) -> Tensor:
        padded = np.concatenate([indices, np.repeat(indices[-1:], size - len(indices))])
        return torch.from_numpy(self.dataset.batch(padded))

    def _remember(self, known: tuple[str, int], found: tuple[np.ndarray, ...]) -> None:
        self._outputs[known] = found
        self._output_bytes += sum(array.nbytes for array in found)
        while self._output_bytes > KEPT_OUTPUTS and len(self._outputs) > 1:
            _, old = self._outputs.popitem(last=False)
            self._output_bytes -= sum(array.nbytes for array in old)


def tensor_keys(program: Program, target: str | None) -> dict[str, str]:
    """Content key of every tensor; behind a listed operator the target belongs to it."""
    keys = {name: f"input {name}" for name in program.inputs}
    marked: set[str] = set()
    for op in program.operations:
        keys[op.output] = op.key
        if execute.listed(op) or marked.intersection(op.inputs):
            marked.add(op.output)
            keys[op.output] = f"{op.key} {target}"
    return keys


def kept_tensors(program: Program, focus: str | None) -> frozenset[str]:
    """Tensors worth keeping: where the network is one tensor wide, and what the focused layer reads."""
    last = {name: i for i, op in enumerate(program.operations) for name in op.inputs}
    live: set[str] = set(program.inputs)
    kept: set[str] = set()
    for i, op in enumerate(program.operations):
        live = {name for name in live if last.get(name, -1) > i}
        live.add(op.output)
        if len(live) == 1 and op.kind != "dequantize":
            kept.add(op.output)
        if focus is not None and focus in op.nodes:
            kept.update(name for name in op.inputs if name not in program.inputs)
    return frozenset(kept)


def flat(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """All outputs of a sample as one row: (samples, values)."""
    return np.concatenate([array.reshape(len(array), -1) for array in outputs], axis=1)
