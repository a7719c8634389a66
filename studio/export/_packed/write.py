"""Program -> `model.ecs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.core.encoding import Coded, Dense, Encoding, Grid, Sparse
from studio.lowering.integers import grid
from studio.lowering.program import IntegerWeights, Operation, Program
from studio.runtimes._packed.layout import FLOAT_BIAS, TYPES, bias_width, pack_bias, wrap

KEPT = ("preprocess", "classes")
"""Parts of an export's description that travel in the header."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Tensors of a weighted operation as they lie in the file."""

    encoding: Encoding
    bias: bytes
    kind: int | str  # of the bias: bytes of an integer, or float32


def write(program: Program, description: Mapping[str, Any]) -> bytes:
    """Return the whole file."""
    numbers = {name: i for i, name in enumerate((*program.inputs, *(op.output for op in program.operations)))}
    entries, tensors = [], []
    for operation in program.operations:
        more, content = _entry(operation)
        entries.append([operation.kind, [numbers[name] for name in operation.inputs], operation.output, more])
        tensors.append(content)
    header: dict[str, Any] = {
        "name": program.name,
        "inputs": [[name, program.tensors[name].shape] for name in program.inputs],
        "outputs": [numbers[name] for name in program.outputs],
        "ops": entries,
        **({} if program.free_batch else {"single": 1}),
        **{key: description[key] for key in KEPT if description.get(key)},
    }
    return wrap(header, b"".join(tensors))


def stored(operation: Operation) -> StoredWeights | None:
    """What is stored of an operation's weights and bias; None for one without weights."""
    if operation.weights is not None:
        width = bias_width(operation.weights.bias)
        return StoredWeights(
            _of_integers(operation, operation.weights), pack_bias(operation.weights.bias, width), width
        )
    if operation.weight is None:
        return None
    encoding = operation.encoding or Dense(np.ascontiguousarray(operation.weight))
    if operation.bias is None:
        return StoredWeights(encoding, b"", 0)
    return StoredWeights(encoding, operation.bias.astype("<f4").tobytes(), FLOAT_BIAS)


def _of_integers(operation: Operation, weights: IntegerWeights) -> Encoding:
    """Encoding that gives the program's integers: the layer's own, or where lowering raised scales a grid of them."""
    assert operation.encoding is not None
    q, scale, _ = grid(operation.encoding)
    if np.array_equal(q, weights.q) and np.array_equal(scale, weights.scale):
        return operation.encoding
    return _with_values(operation.encoding, Grid(weights.q, weights.scale, 0, 8))


def _with_values(encoding: Encoding, values: Grid) -> Encoding:
    """Return the same masks and codes over other values."""
    if isinstance(encoding, Coded):
        return Coded(_with_values(encoding.inner, values))
    return replace(encoding, values=values) if isinstance(encoding, Sparse) else values


def _entry(operation: Operation) -> tuple[dict[str, Any], bytes]:
    """What the header says of an operation beside kind, inputs and output, and the bytes of its tensors."""
    more: dict[str, Any] = {}
    if operation.nodes != (operation.output,):
        more["n"] = operation.nodes
    if operation.operator is not None and operation.operator.kind != operation.kind:
        more["o"] = operation.operator.kind
    if operation.operator is not None and operation.operator.settings():
        more["s"] = operation.operator.settings()
    if operation.output_format is not None:
        more["q"] = [_shortest(operation.output_format.scale), operation.output_format.zero_point]
    if operation.clamp != (-128, 127):
        more["c"] = operation.clamp
    if operation.bounds is not None:
        more["b"] = operation.bounds
    if operation.listed:
        more["l"] = 1
    content = b""
    weights = stored(operation)
    if weights is not None:
        packed = weights.encoding.pack()
        more["w"] = len(packed)
        if weights.kind:
            more["v"] = weights.kind
        content = packed + weights.bias
    if operation.constants:
        more["k"] = [[name, _type(array), array.shape] for name, array in operation.constants.items()]
        content += b"".join(array.astype(TYPES[_type(array)]).tobytes() for array in operation.constants.values())
    return more, content


def _shortest(scale: float) -> float:
    """The shortest decimal number that is nearest to the same float32."""
    return float(str(np.float32(scale)))


def _type(array: np.ndarray) -> str:
    return next(name for name, kind in TYPES.items() if kind == array.dtype)
