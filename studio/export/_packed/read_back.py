"""A written packed file read back: every operation, format and number against the program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from studio.lowering.program import Operation, Program
from studio.runtimes._packed.program import read

COMPARED = ("kind", "nodes", "inputs", "output", "integer", "settings", "clamp", "bounds", "listed", "output_format")


def differences(content: bytes, program: Program) -> list[str]:
    """Sentences about what is not as the program says; raises FileError for a file that is no packed model."""
    found = read(content).program
    said = list(_network(found, program))
    for theirs, ours in zip(found.operations, program.operations, strict=False):
        said += _operation(theirs, ours)
    return said


def _network(found: Program, program: Program) -> Iterator[str]:
    for name in ("inputs", "outputs", "tensors", "free_batch"):
        if getattr(found, name) != getattr(program, name):
            yield f"the {name.replace('_', ' ')} are others in the file"
    if len(found.operations) != len(program.operations):
        yield f"{len(found.operations)} operations are in the file, not {len(program.operations)}"


def _operation(found: Operation, ours: Operation) -> Iterator[str]:
    for name in COMPARED:
        if getattr(found, name) != getattr(ours, name):
            yield f"{ours.output}: {name} is {getattr(found, name)} in the file, not {getattr(ours, name)}"
    arrays = {"weight": (found.weight, ours.weight), "bias": (found.bias, ours.bias)}
    arrays |= {name: (found.constants.get(name), array) for name, array in ours.constants.items()}
    if ours.weights is not None:
        names = [one.name for one in fields(ours.weights) if isinstance(getattr(ours.weights, one.name), np.ndarray)]
        arrays |= {name: (getattr(found.weights, name, None), getattr(ours.weights, name)) for name in names}
    for name, (theirs, array) in arrays.items():
        if not _same(theirs, array):
            yield f"{ours.output}: {name} holds other values in the file"


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
