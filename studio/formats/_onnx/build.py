"""ONNX graph -> Network: one pass over the nodes, each run once on a sample so that every shape is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from studio.core.errors import ModelError
from studio.formats._onnx import load
from studio.formats._onnx.constants import FOLDED, LARGEST
from studio.formats._onnx.names import Names
from studio.network.network import Network, Node
from studio.network.operators import Constant, Input, Operator

Attributes = dict[str, Any]
PASSED = ("Identity", "Dropout", "Cast")
"""Operators that vanish: at inference they hand on their input."""


@dataclass(frozen=True)
class Ref:
    """A computed tensor: the node that gives it, and its value for one sample."""

    node: str
    sample: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape with a batch of 1."""
        return tuple(self.sample.shape)


Value = np.ndarray | Ref | None
Converter = Callable[["Builder", "Call"], None]
CONVERTERS: dict[str, Converter] = {}


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Register the function that turns ONNX operators into ours."""

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, function))
        return function

    return register


@dataclass
class Call:
    """One ONNX node with its resolved inputs and attributes."""

    node: NodeProto
    inputs: list[Value]
    attributes: Attributes
    opset: int

    def constant(self, i: int) -> np.ndarray | None:
        """Input i where it is a constant, else None."""
        value = self.inputs[i] if i < len(self.inputs) else None
        return value if isinstance(value, np.ndarray) else None

    def ref(self, i: int = 0) -> Ref:
        """Input i, which must be a computed tensor."""
        value = self.inputs[i]
        assert isinstance(value, Ref)
        return value

    def weight(self, i: int) -> str | None:
        """File's name of input i."""
        return self.node.input[i] if i < len(self.node.input) else None


@dataclass
class Builder:
    """Nodes so far, and what every tensor of the file is."""

    path: Path
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    def emit(
        self, call: Call, operator: Operator, inputs: Sequence[Ref], output: int = 0, weight: str | None = None
    ) -> Ref:
        """Add a node for one output of an ONNX node and run it on the sample."""
        written = call.node.output[output]
        name = self.names.make(operator.kind, call.node.name if output == 0 else "", written, weight)
        source = call.node.name or written
        with torch.no_grad():
            sample = operator(*(ref.sample for ref in inputs))
        ref = Ref(name, sample)
        self.nodes.append(Node(name, source, tuple(i.node for i in inputs), operator))
        self.values[written] = ref
        return ref

    def ref(self, call: Call, i: int) -> Ref:
        """Input i as a computed tensor; a constant becomes a node of its own."""
        value = call.inputs[i]
        if isinstance(value, Ref):
            return value
        assert value is not None
        operator = Constant(torch.from_numpy(np.ascontiguousarray(value)))
        source = call.node.input[i]
        name = self.names.make("constant", "", source)
        self.nodes.append(Node(name, source, (), operator))
        ref = Ref(name, operator.value)
        self.values[source] = ref
        return ref

    def check_size(self, call: Call, shape: Sequence[int]) -> Sequence[int]:
        """Return the shape; raises ModelError where a few bytes of a file ask for all memory."""
        if math.prod(shape) > LARGEST:
            raise self.fail(call, f"it asks for a tensor of {list(shape)}.", "The file is damaged: export it again.")
        return shape

    def fail(self, call: Call, what: str, remedy: str = "Export the network with simpler operators.") -> ModelError:
        """Error that names the file and the node."""
        name = call.node.name or call.node.output[0]
        return ModelError(what, where=f"{self.path}: {call.node.op_type} '{name}'", remedy=remedy)


def build(model: ModelProto, path: Path, stored: Mapping[str, np.ndarray] | None = None) -> Network:
    """Make the network of a loaded file and its stored tensors; raises ModelError that names the node."""
    from studio.formats._onnx import converters, shaping  # noqa: F401  (they register themselves)

    stored = load.initializers(model.graph, path) if stored is None else stored
    builder = Builder(path)
    builder.values.update(stored)
    builder.values[""] = None
    _input(builder, _only_input(model, stored, path))
    opset = load.opset(model)
    for proto in model.graph.node:
        _convert(builder, proto, opset)
    outputs = []
    for value in model.graph.output:
        found = builder.values.get(value.name)
        if not isinstance(found, Ref):
            raise ModelError(f"the output '{value.name}' is a constant.", where=str(path), remedy="Export it again.")
        outputs.append(found.node)
    used = _used(builder.nodes, outputs)
    network = Network(path.name, used, outputs, free_batch=True)
    if not frees(network):
        network = Network(path.name, used, outputs, free_batch=False)
    return network


def _only_input(model: ModelProto, stored: Iterable[str], path: Path) -> ValueInfoProto:
    """Return the input that samples are fed to; inputs that nothing reads are passed over."""
    read = {name for node in model.graph.node for name in node.input}
    found = [value for value in load.true_inputs(model.graph, stored) if value.name in read]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"'{value.name}'" for value in found)
    what = f"it has {len(found)} inputs ({names}), only one is supported." if found else "it has no input."
    raise ModelError(what, where=str(path), remedy="Export the network with one input and constants for the rest.")


def _input(builder: Builder, value: ValueInfoProto) -> None:
    dims = value.type.tensor_type.shape.dim
    shape = [int(d.dim_value) for d in dims]
    place = f"{builder.path}: input '{value.name}'"
    if not shape:
        raise ModelError("has no shape.", where=place, remedy="Export the model with a fixed input size.")
    if shape[0] > 1:
        what = f"has a batch of {shape[0]} frozen into it."
        raise ModelError(what, where=place, remedy="Export the model with an open batch or a batch of 1.")
    if any(d < 1 for d in shape[1:]) or math.prod(shape[1:]) > LARGEST // 16:
        raise ModelError(f"has an open size {shape}.", where=place, remedy="Export it with a fixed input size.")
    if value.type.tensor_type.elem_type not in load.FLOATS:
        raise ModelError("takes integers.", where=place, remedy="Export the network with a float input.")
    operator = Input((1, *shape[1:]))
    name = builder.names.make("input", "", value.name)
    generator = torch.Generator().manual_seed(0)
    sample = torch.rand((1, *shape[1:]), generator=generator)
    builder.nodes.append(Node(name, value.name, (), operator))
    builder.values[value.name] = Ref(name, sample)


def _convert(builder: Builder, proto: NodeProto, opset: int) -> None:
    call = Call(proto, [builder.values.get(name) for name in proto.input], {}, opset)
    missing = next((name for name in proto.input if name not in builder.values), None)
    if missing is not None:
        raise builder.fail(call, f"it reads '{missing}', an output that is not supported.")
    try:
        attributes = call.attributes
        attributes.update((a.name, _attribute(builder, proto, a)) for a in proto.attribute)
        if proto.op_type == "Constant":
            builder.values[proto.output[0]] = _constant(attributes)
        elif proto.op_type in ("Shape", "Size") and isinstance(call.inputs[0], Ref):
            shape = np.array(call.ref().shape, dtype=np.int64)
            end = attributes.get("end", len(shape))
            shape = shape[attributes.get("start", 0) : end]
            builder.values[proto.output[0]] = shape if proto.op_type == "Shape" else np.array(shape.prod())
        elif all(not isinstance(v, Ref) for v in call.inputs) and proto.op_type in FOLDED:
            known = [v for v in call.inputs if isinstance(v, np.ndarray)]
            builder.values[proto.output[0]] = np.asarray(FOLDED[proto.op_type](known, attributes))
        elif proto.op_type in PASSED and isinstance(call.inputs[0], Ref):
            if proto.op_type == "Cast" and attributes["to"] not in load.FLOATS:
                raise builder.fail(call, "computed values become integers here.")
            builder.values[proto.output[0]] = call.inputs[0]
        elif proto.op_type in CONVERTERS:
            CONVERTERS[proto.op_type](builder, call)
        else:
            raise builder.fail(call, f"the operator {proto.op_type} is not supported.")
    except ModelError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        what = f"the node does not fit its inputs ({type(error).__name__}: {reason})."
        raise builder.fail(
            call, what, "The file is damaged or has a form that is not known: export it again."
        ) from None


def _attribute(builder: Builder, proto: NodeProto, attribute: Any) -> Any:
    if attribute.type == attribute.TENSOR:
        return load.array(attribute.t, builder.path)
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _constant(attributes: Attributes) -> np.ndarray:
    name, value = next(iter(attributes.items()))
    kind = np.int64 if name.startswith("value_int") else np.float32
    found: np.ndarray = value if name == "value" else np.array(value, dtype=kind)
    return found


def _used(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Nodes that an output or an input needs, in the file's order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if node.name in wanted or node.kind == "input":
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]


def frees(network: Network) -> bool:
    """True where outputs for three random samples equal three single runs (to 1e-4 of their range).

    Also checked where the file leaves the batch open: some say so and have a frozen reshape inside.
    """
    generator = torch.Generator().manual_seed(1)
    x = [torch.rand((3, *node.operator.settings()["shape"][1:]), generator=generator) for node in network.inputs]
    try:
        together = network(*x)
        for i in range(3):
            alone = network(*(t[i : i + 1] for t in x))
            for a, b in zip(together, alone, strict=True):
                span = float(b.max() - b.min()) or 1.0
                if a.shape[0] != 3 or float((a[i : i + 1] - b).abs().max()) > 1e-4 * span:
                    return False
    except (RuntimeError, IndexError, ValueError):
        return False
    return True
