"""Bytes and RAM of a program at the widths that are deployed."""

from __future__ import annotations

import math
from collections import Counter

from studio.lowering.program import Operation, Program
from studio.network.cost import IN_PLACE


def deployed_bytes(program: Program) -> dict[str, int]:
    """Bytes of every tensor for one sample: 1 a value where it is int8, 2 where it passes through int16, else 4."""
    found = {
        name: math.prod(info.shape) * (4 if info.format is None else info.format.bits // 8)
        for name, info in program.tensors.items()
    }
    readers = Counter(name for op in program.operations for name in op.inputs)
    halved: set[str] = set()
    for op in reversed(program.operations):
        # An activation in front of 16 bits is fused into what writes them: no device keeps its input in float.
        fused = op.kind in IN_PLACE and op.output in halved and readers[op.inputs[0]] == 1
        if fused or _passes_16_bits(op):
            halved.update((op.inputs[0], op.output))
    return found | {name: 2 * math.prod(program.tensors[name].shape) for name in halved}


def _passes_16_bits(operation: Operation) -> bool:
    """True for the two conversions around a 16-bit tensor: the device holds its integers, in one place."""
    formats = (*operation.input_formats, operation.output_format)
    return operation.kind in ("quantize", "dequantize") and any(f is not None and f.bits == 16 for f in formats)


def peak_ram(program: Program) -> int:
    """Largest sum of tensors that live at once, in bytes for one sample, input and output included.

    The program runs in its order. Where the network's input is quantized first and its outputs are
    dequantized last, the device takes and gives integers: those conversions cost nothing. A reshape
    or activation that alone reads a tensor takes its place, so do 16-bit conversions; constants lie in flash.
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
        replaces = operation.kind in IN_PLACE or _passes_16_bits(operation)
        in_place = replaces and last[source] == i and source not in ends
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
