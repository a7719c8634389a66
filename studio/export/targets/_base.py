"""What an export target is: `can` says what it stores, the writer does exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from studio.core.encoding import Coded, innermost
from studio.lowering.program import Operation, Program
from studio.runtimes._base import Runner


@dataclass(frozen=True)
class Stored:
    """How an operation lies in the file and what will really run there."""

    container: str  # of the weights: "int8", "uint8", "float32", "" without weights
    bytes: int  # of weights, biases, scales and zero points in the file
    kernel: str  # "integer kernel QLinearConv", "float kernel Conv"
    note: str = ""  # what is stored wider than planned and what that costs


@dataclass(frozen=True)
class Refusal:
    """The format would need other numbers than the plan's."""

    reason: str


class Target(Protocol):
    """One file in `studio/export/targets`, registered as `TARGET`.

    `in_float`: the file holds the float network that the plan's rewrites and pruning make, without its grids.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    file_name: ClassVar[str]
    help: ClassVar[str]
    in_float: ClassVar[bool]

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """What this format stores of an operation; pure."""

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read a written file back: sentences about data types and scales that are not the program's."""

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Warning where some processors would compute other numbers, with the remedy; else None."""

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Return code that runs the file, ready to paste."""

    def open(self, path: Path, program: Program) -> Runner:
        """Open a written file in its real runtime; a file without a graph is run in the program's."""


BITS = {"int4": 4, "int8": 8, "uint8": 8, "float32": 32}
"""Bits of a weight by container."""


def wider(operation: Operation, container: str) -> str:
    """Note for weights of fewer bits than their container has, for codes left out, for zeros stored in full."""
    weight = operation.weight if operation.weights is None else operation.weights.q
    if weight is None or not weight.size:
        return ""
    notes = []
    planned, bits = _planned_bits(operation), BITS[container]
    if planned < bits:
        extra = (weight.size * bits + 7) // 8 - (weight.size * planned + 7) // 8
        notes.append(f"{planned}-bit weights are stored as {container}, {extra:,} bytes more than planned")
    coded = operation.encoding
    saved = (coded.inner.bits() - coded.bits()) // 8 if isinstance(coded, Coded) else 0
    if saved:
        notes.append(f"the Huffman code is not stored, {saved:,} bytes more than planned")
    zeros = float((weight == 0).mean())
    if zeros >= 0.3:
        notes.append(f"{zeros:.0%} zeros are stored in full: sparsity saves nothing here")
    return "; ".join(notes)


def _planned_bits(operation: Operation) -> int:
    """Bits of a weight in the plan: of an integer, of an index into a codebook, 32 for float."""
    if operation.weights is not None:
        return operation.weights.width
    return 32 if operation.encoding is None else innermost(operation.encoding).code_bits


def weight_bytes(operation: Operation) -> int:
    """Bytes of weights, biases and scales of an operation as integers or in float32."""
    if operation.weights is not None:
        w = operation.weights
        return w.q.nbytes + w.bias.nbytes + w.scale.nbytes
    if operation.weight is not None:
        return operation.weight.nbytes + (0 if operation.bias is None else operation.bias.nbytes)
    return sum(array.nbytes for array in operation.constants.values())
