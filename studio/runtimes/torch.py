"""Networks in torch: models that no other runtime here takes, in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch

from studio.lowering import execute
from studio.lowering.program import Program
from studio.network.network import Network
from studio.runtimes._base import timed

Call = Callable[[torch.Tensor], Sequence[torch.Tensor]]


class TorchRunner:
    """One network; it has no integer tensors."""

    def __init__(self, network: Network) -> None:
        self._network: Call = network
        self.name = f"torch {torch.__version__}"
        self.input_shape = network.input_shape
        self.preprocess: Mapping[str, Any] | None = None

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs float32 for a batch."""
        return [y.numpy() for y in self._network(torch.from_numpy(np.ascontiguousarray(x, np.float32)))]

    def latency(self, x: np.ndarray) -> tuple[float, float]:
        """Median and 90 % latency in ms of one sample, on one thread."""
        sample, threads = torch.from_numpy(np.ascontiguousarray(x[:1], np.float32)), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return timed(lambda: self._network(sample))
        finally:
            torch.set_num_threads(threads)

    def signature(self) -> dict[str, Any]:
        """Return nothing: what runs in torch is called by name."""
        return {}

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return nothing: all tensors are float32."""
        return {}

    def __enter__(self) -> TorchRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


class ProgramRunner(TorchRunner):
    """A program on tensors that were read from a file."""

    def __init__(self, program: Program) -> None:
        self._network = partial(_outputs, program)
        self.name = f"torch {torch.__version__}"
        self.input_shape = program.tensors[program.inputs[0]].shape
        self.preprocess = None


def _outputs(program: Program, x: torch.Tensor) -> list[torch.Tensor]:
    values = execute.run_program(program, x)
    return [values[name].float() for name in program.outputs]
