"""Units with their formats -> operations, with quantize and dequantize where integers and floats meet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from studio.core.encoding import Encoding
from studio.core.graph import WEIGHTED
from studio.lowering import formats, forms, integers, listed
from studio.lowering.program import Operation, Program, TensorFormat, TensorInfo
from studio.lowering.reconcile import Chosen
from studio.lowering.units import Unit
from studio.network.content import operator_key
from studio.network.network import Network
from studio.network.operators import Operator
from studio.network.operators_plain import Slice

_decoded: WeakKeyDictionary[Encoding, np.ndarray] = WeakKeyDictionary()
_encoding_digests: WeakKeyDictionary[Encoding, str] = WeakKeyDictionary()


WIDE_NOWHERE: Mapping[str, TensorFormat] = MappingProxyType({})


class Emitter:
    """Collects operations in order; every tensor has at most one integer and one float form."""

    def __init__(
        self, network: Network, encodings: Mapping[str, Encoding], chosen: Chosen,
        shapes: Mapping[str, tuple[int, ...]], wide: Mapping[str, TensorFormat] = WIDE_NOWHERE,
    ) -> None:  # fmt: skip
        """`wide`: 16-bit formats of outputs of float operations, by node name."""
        self._wide = wide
        self._network, self._encodings, self._chosen, self._shapes = network, encodings, chosen, shapes
        self._operations: list[Operation] = []
        self._tensors: dict[str, TensorInfo] = {}
        self._keys: dict[str, str] = {}
        self._float: dict[str, str] = {}  # node -> tensor of its float form
        self._integer: dict[str, str] = {}  # node -> tensor of its integer form

    def add(self, unit: Unit, kind: str, integer: bool, copies: formats.Copies) -> None:
        """Append the operation of a unit and what its inputs need before it."""
        if unit.main.kind == "input":
            self._tensors[unit.output] = TensorInfo(unit.output, self._shapes[unit.output], None)
            self._float[unit.output] = unit.output
            self._keys[unit.output] = f"input {unit.output}"
            self._keep_wide(unit.output)
        elif integer:
            inputs = tuple(self._as_integer(name, (unit.output, name) in copies) for name in unit.inputs)
            window = forms.window(unit.main, self._shapes)
            if kind == forms.MEAN and window is not None:
                inputs = (self._cropped(unit, inputs[0], window),)
            self._append(self._integer_operation(unit, kind, inputs))
            self._integer[unit.output] = unit.output
        else:
            inputs = tuple(self._as_float(name) for name in unit.inputs)
            self._append(self._float_operation(unit, inputs))
            self._float[unit.output] = unit.output
            self._keep_wide(unit.output)

    def _keep_wide(self, name: str) -> None:
        """Pass a float tensor through 16 bits where the plan says so: what reads it sees what they hold."""
        if name in self._wide:
            stored = self._convert("quantize", name, name, formats.wide(name), self._wide[name])
            self._float[name] = self._convert("dequantize", name, stored, f"{formats.wide(name)}:float", None)

    def program(self) -> Program:
        """Return the program; integer outputs end in a dequantize operation."""
        outputs = tuple(self._as_float(name) for name in self._network.outputs)
        inputs = tuple(node.name for node in self._network.inputs)
        return Program(
            self._network.name, inputs, outputs, self._tensors, tuple(self._operations), self._network.free_batch
        )

    def _integer_operation(self, unit: Unit, kind: str, inputs: tuple[str, ...]) -> Operation:
        node, target = unit.main, self._chosen.formats[unit.output]
        bounds = unit.bounds or (forms.bounds(node.operator) if kind in ("relu", "clip") else None)
        weights = None
        if kind in WEIGHTED:
            source = self._chosen.formats[node.inputs[0]]
            bias: Any = node.operator.bias
            floats = None if bias is None else bias.detach().numpy()
            weights = integers.make(self._encodings[node.name], floats, source, target)
        return Operation(
            kind, tuple(n.name for n in unit.nodes), inputs, unit.output, True,
            settings=node.operator.settings(), weights=weights,
            encoding=None if weights is None else self._encodings[node.name], constants=_constants(node.operator),
            clamp=formats.clamp(bounds, target), bounds=bounds, operator=node.operator, output_format=target,
            listed=listed.is_listed(kind, node.operator) or unit.output in self._chosen.unreconciled,
        )  # fmt: skip

    def _cropped(self, unit: Unit, source: str, window: tuple[int, ...]) -> str:
        """Tensor with the places that a pool with a single window looks at."""
        info, output = self._tensors[source], f"{unit.output}:window"
        axes = tuple(range(2, 2 + len(window)))
        crop = Slice(axes, (0,) * len(window), window, (1,) * len(window))
        operation = Operation(
            "slice", (unit.main.name,), (source,), output, True,
            settings=crop.settings(), operator=crop, output_format=info.format,
        )  # fmt: skip
        self._append(operation, (*info.shape[:2], *window))
        return output

    def _float_operation(self, unit: Unit, inputs: tuple[str, ...]) -> Operation:
        node = unit.main
        weight = bias = encoding = None
        if node.kind in WEIGHTED:
            own: Any = node.operator
            encoding = self._encodings.get(node.name)
            weight = own.weight.detach().numpy() if encoding is None else decoded(encoding)
            bias = None if own.bias is None or not own.bias.any() else own.bias.detach().numpy()
        return Operation(
            node.kind, (node.name,), inputs, unit.output, False, settings=node.operator.settings(),
            weight=weight, bias=bias, encoding=encoding, constants=_constants(node.operator), operator=node.operator,
        )  # fmt: skip

    def _as_integer(self, name: str, copy: bool) -> str:
        """Tensor of a node's integer form, quantized once; `copy` = its requantized copy."""
        if name not in self._integer:
            target = self._chosen.formats[name]
            self._integer[name] = self._convert("quantize", name, self._float[name], f"{name}:int8", target)
        if not copy:
            return self._integer[name]
        other = formats.requantized(name)
        if other not in self._tensors:
            self._convert("requantize", name, self._integer[name], other, self._chosen.formats[other])
        return other

    def _as_float(self, name: str) -> str:
        """Tensor of a node's float form, dequantized once."""
        if name not in self._float:
            self._float[name] = self._convert("dequantize", name, self._integer[name], f"{name}:float", None)
        return self._float[name]

    def _convert(self, kind: str, node: str, source: str, output: str, format: TensorFormat | None) -> str:
        operation = Operation(
            kind, (node,), (source,), output, kind != "dequantize", output_format=format, listed=kind == "requantize"
        )
        self._append(operation, self._tensors[source].shape)
        return output

    def _append(self, operation: Operation, shape: tuple[int, ...] | None = None) -> None:
        input_formats = tuple(self._tensors[name].format for name in operation.inputs)
        key = self._key(operation, input_formats)
        self._operations.append(replace(operation, input_formats=input_formats, key=key))
        self._keys[operation.output] = key
        found = self._shapes[operation.output] if shape is None else shape
        self._tensors[operation.output] = TensorInfo(operation.output, found, operation.output_format)

    def _key(self, operation: Operation, input_formats: tuple[TensorFormat | None, ...]) -> str:
        parts = (
            operation.kind, operation.integer, operation.settings, operation.clamp, operation.bounds, operation.listed,
            input_formats, operation.output_format, self._content(operation),
            [self._keys[name] for name in operation.inputs],
        )  # fmt: skip
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    def _content(self, operation: Operation) -> str:
        """Hash of all tensors that belong to the operation."""
        if operation.weights is not None:
            return integers.digest(operation.weights)
        if operation.operator is None:
            return ""
        encoding = self._encodings.get(operation.nodes[0])
        if operation.weight is None or encoding is None:
            return operator_key(operation.operator)
        if encoding not in _encoding_digests:
            _encoding_digests[encoding] = array_digest(decoded(encoding))
        return f"{_encoding_digests[encoding]} {'' if operation.bias is None else array_digest(operation.bias)}"


def decoded(encoding: Encoding) -> np.ndarray:
    """Float32 weights of an encoding; the same array for the same encoding."""
    if encoding not in _decoded:
        _decoded[encoding] = encoding.decode()
    return _decoded[encoding]


def array_digest(array: np.ndarray) -> str:
    """Content hash of shape and values."""
    content = repr((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _constants(operator: Operator) -> dict[str, np.ndarray]:
    """Tensors of an operator besides weight and bias of a weighted one."""
    if operator.kind in WEIGHTED:
        return {}
    return {name: value.detach().numpy() for name, value in operator.state_dict().items()}
