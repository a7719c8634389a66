"""Names of tensors in ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from studio.lowering.program import Program
from studio.runtimes.onnxruntime import INTEGERS


def names_in_file(program: Program) -> dict[str, str]:
    """Names that differ in the file: outputs have those of the network's own, the integers behind them another."""
    found: dict[str, str] = {}
    for name in program.outputs:
        operation = program.by_output.get(name)
        if operation is not None and operation.kind == "dequantize" and operation.inputs == operation.nodes:
            (own,) = operation.nodes
            found |= {own: own + INTEGERS, name: own}
    return found


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors new names (old -> new, all at once), subgraphs excepted: the studio writes none."""
    for node in graph.node:
        for used in (node.input, node.output):
            used[:] = [names.get(name, name) for name in used]
    for entry in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        entry.name = names.get(entry.name, entry.name)
