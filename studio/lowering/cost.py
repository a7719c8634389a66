"""Bytes and RAM of a program at the widths that are deployed."""

from __future__ import annotations

import math

from studio.lowering.program import Operation, Program
from studio.network.cost import IN_PLACE


def deployed_bytes(program: Program) -> dict[str, int]:
    """Bytes of every tensor for one sample: 1 a value where it is int8, 4 where it is float32."""
    return {
        name: math.prod(info.shape) * (4 if info.format is None else info.format.bits // 8)
        for name, info in program.tensors.items()
    }


def peak_ram(program: Program) -> int:
    """Largest sum of tensors that live at once, in bytes for one sample, input and output included.

    The program runs in its order. Where the network's input is quantized first and its outputs are
    dequantized last, the device takes and gives integers: those conversions cost nothing. A reshape
    or activation that alone reads a tensor takes its place; constants lie in flash.
    """
    size = deployed_bytes(program)
    constants = {op.output for op in program.operations if op.kind == "constant"}
    operations = [op for op in program.operations if not (op.output in constants or _at_the_edge(program, op))]
    written = {op.output for op in operations} | constants
    ends = {_source(program, name) for name in program.outputs}
    last = {name: i for i, op in enumerate(operations) for name in op.inputs}
    live = {name for op in operations for name in op.inputs if name not in written}
    peak = sum(size[name] for name in live)
    for i, operation in enumerate(operations):
        source = operation.inputs[0]
        in_place = operation.kind in IN_PLACE and last[source] == i and source not in ends
        live.add(operation.output)
        before = source if in_place else None
        peak = max(peak, sum(size[name] for name in live if name != before))
        live = {name for name in live if last.get(name, -1) > i or name in ends}
    return peak


def _at_the_edge(program: Program, operation: Operation) -> bool:
    if operation.kind == "quantize":
        return operation.inputs[0] in program.inputs
    return operation.kind == "dequantize" and operation.output in program.outputs


def _source(program: Program, output: str) -> str:
    """Tensor that the device gives: the integers behind a dequantized output."""
    operation = program.by_output.get(output)
    return operation.inputs[0] if operation is not None and operation.kind == "dequantize" else output
