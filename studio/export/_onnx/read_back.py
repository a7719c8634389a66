"""A written file read back: data types, integers, scales and kernels against the program."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from studio.export._onnx.names import names_in_file
from studio.export._onnx.support import kernel_type
from studio.export._onnx.weights import INT4, SHIFT, stored, weight_name
from studio.lowering.program import Operation, Program
from studio.runtimes.onnxruntime import kernels


def differences(content: bytes, program: Program, weights: str) -> list[str]:
    """Sentences about what is not as the program says; empty for a file that is.

    `weights`: the container that was asked for. Raises what onnx raises for a file that is no ONNX model.
    """
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    file = _File(model)
    found = list(_tensors(file, program))
    for operation in program.operations:
        found += _weights(file, operation, program, weights)
    return found + list(_kernels(content, program))


class _File:
    """Initializers by name, and the nodes by what they write and read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.written = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def format(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and zero point with which a tensor is quantized or dequantized, if it is."""
        nodes = [self.written.get(name), *self.readers.get(name, ())]
        for node in nodes:
            if node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) == 3:
                return self.arrays[node.input[1]], self.arrays[node.input[2]]
        return None


def _tensors(file: _File, program: Program) -> Iterator[str]:
    names = names_in_file(program)
    for own, info in program.tensors.items():
        name = names.get(own, own)
        if info.format is None:
            continue
        if name not in file.written:
            yield f"tensor {own} is not in the file"
            continue
        pair = file.format(name)
        if pair is None:
            # Between two operators on integers: what stands around them gives its format.
            continue
        scale, zero = pair
        expected, shift = (np.uint8, SHIFT) if info.format.bits == 8 else (np.int16, 0)
        if zero.dtype != expected:
            yield f"tensor {own} is {zero.dtype} in the file, not {np.dtype(expected)}"
        if float(scale) != info.format.scale or int(zero) != info.format.zero_point + shift:
            yield f"tensor {own} has scale {float(scale)} and zero point {int(zero)} in the file"


def _weights(file: _File, operation: Operation, program: Program, container: str) -> Iterator[str]:
    expected = stored(operation, program, container)
    if expected is None:
        return
    layer, name = operation.nodes[0], weight_name(operation, program)
    weight = file.arrays.get(name)
    if weight is None or weight.dtype != expected.weight.dtype:
        yield f"the weights of {layer} are not {expected.weight.dtype} in the file"
        return
    if not np.array_equal(weight, expected.weight):
        yield f"the weights of {layer} are others in the file"
    pair = file.format(f"{name}:8" if expected.weight.dtype == INT4 else name)
    if expected.scale is not None and (pair is None or not _same(pair, (expected.scale, expected.zero))):
        yield f"the weight scales of {layer} are others in the file"
    if expected.bias is not None and not _same((file.arrays.get(f"{name}:b"),), (expected.bias,)):
        yield f"the biases of {layer} are others in the file"


def _same(found: tuple[np.ndarray | None, ...], expected: tuple[np.ndarray | None, ...]) -> bool:
    """True for arrays of the same types and values."""
    return all(
        a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(found, expected, strict=True)
    )


def _kernels(content: bytes, program: Program) -> Iterator[str]:
    """Layers that this ONNX Runtime does not run in the kernel that `can` said."""
    running, names = {output: kind for kind, output in kernels(content)}, names_in_file(program)
    for operation in program.operations:
        layer, inner = operation.nodes[0], operation.output
        output = names.get(inner, inner)
        if operation.weights is not None:
            expected = kernel_type(operation, program)
            kind = running.get(f"{inner}:q", running.get(output, "no kernel of its own"))
            if kind != expected:
                yield f"{layer} runs in {kind} here, not in {expected}"
        elif operation.kind == "quantize" and running.get(output, "").startswith(("QLinear", "QGemm")):
            yield f"{layer} is left in float, and runs in {running[output]} here"
