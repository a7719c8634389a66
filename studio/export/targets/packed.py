"""`model.ecs`: the file in which sharing, Huffman codes and sparsity are really small."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from studio import runtimes
from studio.export.targets._base import Refusal, Stored
from studio.lowering.program import Operation, Program


class PackedTarget:
    """Every layer as its encoding packs it; decoded when the file is opened."""

    name: ClassVar[str] = "packed"
    title: ClassVar[str] = "Packed model"
    file_name: ClassVar[str] = "model.ecs"
    help: ClassVar[str] = "Weights in the plan's own bytes: few bits, codebooks, sparse and Huffman-coded, all kept."
    in_float: ClassVar[bool] = False

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """Everything as planned; wider activations are refused."""
        from studio.export._packed.write import stored

        formats = [f for f in (*operation.input_formats, operation.output_format) if f is not None]
        if any(f.bits != 8 for f in formats):
            return Refusal(f"A packed model computes on 8-bit activations, not on {max(f.bits for f in formats)} bits.")
        kernel = f"{'integer' if operation.integer else 'float'} kernel {operation.kind}"
        weights = stored(operation)
        if weights is None:
            return Stored("", sum(array.nbytes for array in operation.constants.values()), kernel)
        return Stored(_container(operation), weights.encoding.bits() // 8 + len(weights.bias), kernel)

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""
        from studio.export._packed.write import write

        return write(program, description)

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back: every operation, format and number against the program."""
        from studio.export._packed.read_back import differences

        return differences(content, program)

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Return None: sums are exact everywhere."""
        return None

    def open(self, path: Path, program: Program) -> runtimes.Runner:
        """Open the file by itself."""
        return runtimes.open(path)

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Python that runs the file."""
        return (
            "from studio import runtimes\n"
            f'with runtimes.open("{self.file_name}") as model:\n'
            f"    # x: float32 {description['input']['shape']}, preprocessed as the manifest says\n"
            "    outputs = model.run(x)\n"
        )


def _container(operation: Operation) -> str:
    """Name of a layer's encoding: "Coded 4 bit", "Sparse 8 bit", "Dense float32"."""
    from studio.core.encoding import innermost
    from studio.export._packed.write import stored

    weights = stored(operation)
    assert weights is not None
    bits = innermost(weights.encoding).code_bits
    return f"{type(weights.encoding).__name__} {'float32' if bits == 32 else f'{bits} bit'}"


TARGET = PackedTarget()
