"""The network as the screen and the plan see it: layers without tensors, frozen."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
from dataclasses import dataclass
from functools import cached_property

from studio.core.errors import PlanError

Shape = tuple[int, ...]

WEIGHTED = ("conv", "conv_transpose", "linear")
"""Kinds that hold a weight which techniques can change."""


@dataclass(frozen=True)
class Layer:
    """One node after folding. Shapes include a batch of 1; all counts are for one sample."""

    name: str
    source: str  # the file's own name
    kind: str  # an operator kind of studio.network.operators
    detail: str  # what a person reads: "Conv 3x3, 16 -> 32, stride 2", "Add, ReLU"
    inputs: tuple[str, ...]  # names of the layers whose output it reads
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    weight_shape: Shape | None  # (out, in/groups, *kernel), linear (out, in); conv_transpose (in, out/groups, *kernel)
    parameters: int
    macs: int
    activation_bytes: int  # of the output tensor in float32
    group: str | None  # channel group: the first layer of those that must be cut together
    groups: int = 1  # of a grouped convolution; depthwise when equal to the input channels
    rectified: bool = False  # its activation ends in a ReLU: exact zeros mean "silent"
    companions: tuple[str, ...] = ()  # the other layers of its channel group
    group_channels: int = 0  # channels of the group that can be removed, tied ones counted once
    uncut: str | None = None  # why none of them can be, as a sentence
    unequal: str | None = None  # why scales of its channels cannot move into the layer behind it, as a sentence
    stride: tuple[int, ...] = ()  # of convolutions and pooling
    pads: tuple[int, ...] = ()  # begins then ends, as in ONNX
    dilation: tuple[int, ...] = ()

    @property
    def weighted(self) -> bool:
        """True where the layer holds a weight that techniques can change."""
        return self.weight_shape is not None and self.kind in WEIGHTED

    @property
    def channel_axis(self) -> int:
        """Axis of the weight along which output channels lie."""
        return 1 if self.kind == "conv_transpose" else 0


@dataclass(frozen=True)
class Graph:
    """All layers in topological order (the file's order); the input is the first layer, kind "input"."""

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    peak_ram_bytes: int  # float32, by liveness over this order, input and output included

    @cached_property
    def _index(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _sources(self) -> dict[str, str]:
        return {layer.source: layer.name for layer in self.layers}

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def layer(self, name: str) -> Layer:
        """Layer by its studio name or the file's own name; raises PlanError with the nearest names."""
        found = self._index.get(name) or self._index.get(self._sources.get(name, ""))
        if found is None:
            near = difflib.get_close_matches(name, self._index, 3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`edge-studio inspect` lists all layers."
            raise PlanError(f"there is no layer '{name}' in {self.name}.", remedy=hint)
        return found

    def match(self, pattern: str) -> tuple[Layer, ...]:
        """Layers that a name, a file's own name or a glob means; raises PlanError where there is none."""
        if pattern in self._index or pattern in self._sources or not any(c in pattern for c in "*?["):
            return (self.layer(pattern),)
        found = tuple(n for n in self.layers if n.weighted and fnmatch.fnmatchcase(n.name, pattern))
        if not found:
            raise PlanError(f"no layer matches '{pattern}'.", remedy="`edge-studio inspect` lists all layers.")
        return found

    @property
    def weighted(self) -> tuple[Layer, ...]:
        """Layers that hold weights, in order."""
        return tuple(layer for layer in self.layers if layer.weighted)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:...` over kinds, shapes and names: the same for the same architecture."""
        text = repr([(n.kind, n.output_shape, n.weight_shape, n.name) for n in self.layers])
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def consumers(self, name: str) -> tuple[str, ...]:
        """Names of the layers that read the output of `name`."""
        return tuple(layer.name for layer in self.layers if name in layer.inputs)
