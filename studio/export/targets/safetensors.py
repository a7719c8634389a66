"""`model.safetensors`: the tensors of the cut and factored network in float32, under its own names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from studio import runtimes
from studio.export.targets._base import Refusal, Stored, weight_bytes, wider
from studio.lowering.program import Operation, Program


class SafetensorsTarget:
    """`conv1.weight`, `conv1.bias` ...: what a torch module's state dict holds, batch norm folded in."""

    name: ClassVar[str] = "safetensors"
    title: ClassVar[str] = "safetensors float32"
    file_name: ClassVar[str] = "model.safetensors"
    help: ClassVar[str] = "Tensors of the cut, factored and pruned network in float32, to load into a torch module."
    in_float: ClassVar[bool] = True

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """Weights, biases and other constants in float32; the graph is not in the file."""
        container = "float32" if operation.weight is not None else ""
        kernel = "torch, in a module of your own"
        return Stored(container, weight_bytes(operation), kernel, wider(operation, container))

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file; preprocessing and the model's name travel as metadata."""
        from safetensors.numpy import save

        about = {"model": str(description.get("model", {}).get("name")), "batch_norm": "folded",
                 "preprocess": json.dumps(description.get("preprocess"))}  # fmt: skip
        return _in_order(save(tensors_of(program), metadata=about))

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back: every tensor against the program."""
        from safetensors.numpy import load

        found, wanted = load(content), tensors_of(program)
        missing = [f"{name} is not in the file" for name in wanted if name not in found]
        other = [f"{name} is not in the network" for name in found if name not in wanted]
        wrong = [f"{n} differs" for n in wanted if n in found and found[n].tobytes() != wanted[n].tobytes()]
        return missing + other + wrong

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Float products do not saturate."""
        return None

    def open(self, path: Path, program: Program) -> runtimes.Runner:
        """Run the program's graph on the tensors of the file."""
        from studio.runtimes.torch import ProgramRunner

        return ProgramRunner(with_tensors(program, path.read_bytes()))

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Python that loads the file."""
        return (
            "from safetensors.torch import load_file\n"
            f'tensors = load_file("{self.file_name}")  # name -> float32 tensor, batch norm folded\n'
            "module.load_state_dict(tensors)  # a module of yours with the shapes in plan.json\n"
        )


def _in_order(content: bytes) -> bytes:
    """Return the same file with its metadata by name: the library writes them in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def tensors_of(program: Program) -> dict[str, np.ndarray]:
    """Tensors by name: `layer.weight`, `layer.bias`, `layer.<constant>`."""
    found: dict[str, np.ndarray] = {}
    for op in program.operations:
        if op.kind == "constant":
            continue
        named = {"weight": op.weight, "bias": op.bias, **op.constants}
        found |= {f"{op.nodes[0]}.{n}": np.ascontiguousarray(v, np.float32) for n, v in named.items() if v is not None}
    return found


def with_tensors(program: Program, content: bytes) -> Program:
    """Return the program with the weights and biases that a file holds in place of its own."""
    from dataclasses import replace

    from safetensors.numpy import load

    found = load(content)
    operations = [
        op if op.weight is None
        else replace(op, weight=found[f"{op.nodes[0]}.weight"], bias=found.get(f"{op.nodes[0]}.bias"))
        for op in program.operations
    ]  # fmt: skip
    return replace(program, operations=tuple(operations))


TARGET = SafetensorsTarget()
