"""Packed file -> program: everything is checked before it is used, so that any file gives a program or a FileError."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studio.core.encoding import LIMIT, Encoding, unpack
from studio.core.errors import FileError
from studio.core.graph import WEIGHTED
from studio.core.packing import Reader
from studio.lowering import execute
from studio.lowering.integers import grid, on_grid
from studio.lowering.program import IntegerWeights, Operation, Program, TensorFormat, TensorInfo
from studio.network.operators import Operator
from studio.runtimes._packed.layout import FLOAT_BIAS, TYPES, damaged, read_bias, unwrap
from studio.runtimes._packed.operators import LARGEST_TENSOR, build, check

CONVERSIONS = ("quantize", "dequantize", "requantize")
"""Kinds without an operator."""
MOST_WEIGHTS = 1 << 27
MOST_VALUES = 1 << 27
"""Of all tensors for one sample together."""
MOST_OPERATIONS = 1 << 16
_IMPOSSIBLE = (
    AttributeError, AssertionError, IndexError, KeyError, MemoryError, OverflowError, RecursionError, RuntimeError,
    TypeError, ValueError, ZeroDivisionError,
)  # fmt: skip
"""What torch and Python raise for settings that no operator has."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A read file."""

    program: Program
    preprocess: Mapping[str, Any] | None
    classes: tuple[str, ...] | None


def read(content: bytes) -> Packed:
    """Program of a packed file, run once on zeros; raises FileError for any content that is not one."""
    header, reader = unwrap(content)
    try:
        # Numbers that no layer has overflow; what they give is checked or thrown away.
        with torch.inference_mode(), np.errstate(all="ignore"):
            program = _Build(header, reader).program()
        classes = header.get("classes")
        preprocess = header.get("preprocess")
        if not isinstance(preprocess, dict | None):
            raise damaged("its preprocessing is no object")
        return Packed(program, preprocess, None if classes is None else tuple(str(name) for name in classes))
    except FileError:
        raise
    except _IMPOSSIBLE as error:
        raise damaged(f"its operations cannot be run ({type(error).__name__})") from None


class _Build:
    """Operations one after the other, each run once on zeros; tensors are numbered, inputs first."""

    def __init__(self, header: Mapping[str, Any], reader: Reader) -> None:
        self._header, self._reader = header, reader
        self._infos: list[TensorInfo] = []
        self._values: dict[str, torch.Tensor] = {}
        self._weights_left, self._values_left = MOST_WEIGHTS, MOST_VALUES

    def program(self) -> Program:
        """Return all operations; raises FileError where bytes are left."""
        header = self._header
        for name, shape in header["inputs"]:
            sizes = tuple(int(size) for size in shape)
            if min(sizes, default=0) < 1 or np.prod(sizes, dtype=np.float64) > LARGEST_TENSOR:
                raise damaged(f"an input of shape {sizes}")
            self._add(str(name), torch.zeros(sizes), None)
        if len(header["ops"]) > MOST_OPERATIONS or not header["inputs"] or not header["outputs"]:
            raise damaged("no inputs or outputs, or too many operations")
        operations = tuple(self._operation(*entry) for entry in header["ops"])
        if self._reader.left:
            raise damaged("there is more behind its tensors")
        outputs = tuple(self._info(index) for index in header["outputs"])
        if any(info.format is not None for info in outputs):
            raise damaged("an output is not float32")
        inputs = tuple(info.name for info in self._infos[: len(header["inputs"])])
        tensors = {info.name: info for info in self._infos}
        names = tuple(info.name for info in outputs)
        return Program(str(header["name"]), inputs, names, tensors, operations, not header.get("single", False))

    def _add(self, name: str, value: torch.Tensor, format: TensorFormat | None) -> None:
        if name in self._values:
            raise damaged(f"two tensors '{name}'")
        self._values[name] = value
        self._infos.append(TensorInfo(name, tuple(value.shape), format))

    def _info(self, index: Any) -> TensorInfo:
        if not isinstance(index, int) or not 0 <= index < len(self._infos):
            raise damaged(f"there is no tensor {index}")
        return self._infos[index]

    def _operation(self, kind: str, sources: list[int], output: str, more: Mapping[str, Any]) -> Operation:
        inputs = tuple(self._info(index) for index in sources)
        target = _format(more.get("q"))
        integer = target is not None
        encoding, weights, weight, bias = self._tensors(kind, inputs, target, more)
        constants = {name: self._array(dtype, shape) for name, dtype, shape in more.get("k", ())}
        operator = None if kind in CONVERSIONS else self._operator(kind, more, encoding, bias, weights, constants)
        bounds = more.get("b")
        operation = Operation(
            kind, tuple(map(str, more.get("n", (output,)))), tuple(info.name for info in inputs), str(output), integer,
            settings={} if operator is None else operator.settings(), weights=weights, weight=weight, bias=bias,
            encoding=encoding, constants=constants, clamp=_clamp(more.get("c", (-128, 127))),
            bounds=None if bounds is None else _bounds(*bounds), listed=bool(more.get("l", False)), operator=operator,
            input_formats=tuple(info.format for info in inputs), output_format=target,
        )  # fmt: skip
        self._run(operation, inputs)
        return operation

    def _run(self, operation: Operation, inputs: tuple[TensorInfo, ...]) -> None:
        """Run an operation once, after a look at what it will take."""
        if operation.operator is None:
            (source,) = inputs
            self._values_left -= math.prod(source.shape)
        else:
            self._values_left -= check(operation.operator, [info.shape for info in inputs])
        if self._values_left < 0:
            raise damaged(f"more than {MOST_VALUES:,} values for one sample")
        value = execute.run(operation, [self._values[info.name] for info in inputs])
        if value.dtype != (torch.int8 if operation.integer else torch.float32):
            raise damaged(f"tensor '{operation.output}' is {value.dtype}")
        self._add(operation.output, value, operation.output_format)

    def _tensors(
        self, kind: str, inputs: tuple[TensorInfo, ...], target: TensorFormat | None, more: Mapping[str, Any]
    ) -> tuple[Encoding | None, IntegerWeights | None, np.ndarray | None, np.ndarray | None]:
        """Encoding, integers, float weight and float bias of an operation."""
        if "w" not in more:
            if kind in WEIGHTED:
                raise damaged(f"an operator '{kind}' without weights")
            return None, None, None, None
        encoding = unpack(bytes(self._reader.take(int(more["w"]))), min(LIMIT, self._weights_left))
        self._weights_left -= int(np.prod(encoding.shape, dtype=np.int64))
        channels = encoding.shape[0]
        if kind == "conv_transpose":
            channels = encoding.shape[1] * int(more["s"]["groups"])
        stored = more.get("v", 0)
        if target is None:
            bias = self._reader.floats(channels) if stored == FLOAT_BIAS else None
            return encoding, None, encoding.decode(), bias
        source = inputs[0].format
        if not on_grid(encoding) or source is None or stored not in range(5) or kind == "conv_transpose":
            raise damaged(f"an operator '{kind}' on integers without integers")
        bias = read_bias(self._reader, channels, stored)
        return encoding, _integers(encoding, bias, source, target), None, None

    def _array(self, dtype: str, shape: list[int]) -> np.ndarray:
        """One of the other tensors of an operation, as its bytes lie in the file."""
        kind, sizes = TYPES[dtype], tuple(int(size) for size in shape)
        content = self._reader.take(int(np.prod(sizes, dtype=np.int64)) * kind.itemsize)
        return np.frombuffer(content, kind).reshape(sizes).astype(kind.newbyteorder("="))

    def _operator(
        self, kind: str, more: Mapping[str, Any], encoding: Encoding | None, bias: np.ndarray | None,
        weights: IntegerWeights | None, constants: Mapping[str, np.ndarray],
    ) -> Operator:  # fmt: skip
        """Operator; weights of one that has them are handed over when it runs, so it holds only their shape."""
        tensors: dict[str, torch.Tensor | None] = {name: torch.from_numpy(array) for name, array in constants.items()}
        if encoding is not None:
            channels = None if bias is None and weights is None else bias if weights is None else weights.bias
            tensors["weight"] = torch.empty(encoding.shape, device="meta")
            tensors["bias"] = None if channels is None else torch.empty(len(channels), device="meta")
        return build(str(more.get("o", kind)), more.get("s", {}), tensors)


def _integers(encoding: Encoding, bias: np.ndarray, source: TensorFormat, target: TensorFormat) -> IntegerWeights:
    """Integers as lowering made them: the multiplier is (s_in * s_w) / s_out, operation by operation in float32."""
    q, scale, inner = grid(encoding)
    scale = np.ascontiguousarray(scale, dtype=np.float32)
    multiplier = (np.float32(source.scale) * scale) / np.float32(target.scale)
    per_channel = bool((scale != scale[:1]).any())
    return IntegerWeights(np.ascontiguousarray(q), scale, bias, multiplier, inner.code_bits, per_channel)


def _format(value: Any) -> TensorFormat | None:
    """`[scale, zero point]` of an int8 tensor; the scale is the float32 nearest to what is written."""
    if value is None:
        return None
    scale, zero_point = float(np.float32(value[0])), int(value[1])
    if not 0 < scale < float("inf") or not -128 <= zero_point <= 127 or len(value) != 2:
        raise damaged(f"a tensor with scale {value[0]} and zero point {value[1]}")
    return TensorFormat(scale, zero_point)


def _clamp(value: Any) -> tuple[int, int]:
    low, high = (int(end) for end in value)
    if not -128 <= low <= high <= 127:
        raise damaged(f"integers from {low} to {high}")
    return low, high


def _bounds(low: Any, high: Any) -> tuple[float, float]:
    return float(low), float(high)
