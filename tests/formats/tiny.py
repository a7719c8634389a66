"""Tiny ONNX files of a few nodes, for tests of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IRS = {7: 3, 9: 4, 11: 6, 13: 7, 17: 8, 21: 10, 22: 10}
RANDOM = np.random.default_rng(3)


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@dataclass
class File:
    """Nodes as (type, inputs, outputs, attributes), stored tensors, the input's shape behind the batch."""

    shape: Sequence[int]
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]]
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    opset: int = 13
    outputs: Sequence[str] = ("y",)
    batch: int | str = "N"

    def model(self) -> onnx.ModelProto:
        def value(name: str, shape: Any) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        nodes = [helper.make_node(kind, inputs, outputs, **more) for kind, inputs, outputs, more in self.nodes]
        tensors = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        inputs = [value("x", [self.batch, *self.shape])]
        if IRS[self.opset] == 3:
            inputs += [
                helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors
            ]  # as old files list them
        graph = helper.make_graph(nodes, "g", inputs, [value(name, None) for name in self.outputs], tensors)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IRS[self.opset])

    def write(self, folder: Path) -> Path:
        path = folder / "one.onnx"
        path.write_bytes(self.model().SerializeToString())
        return path


def one(
    kind: str, *arguments: np.ndarray | None, shape: Sequence[int] = (4, 9, 10), opset: int = 13, **more: Any
) -> File:
    """File of one node: the input, then stored tensors (None = left out)."""
    names = ["" if value is None else f"c{i}" for i, value in enumerate(arguments)]
    stored = {f"c{i}": value for i, value in enumerate(arguments) if value is not None}
    return File(shape, [(kind, ["x", *names], ["y"], more)], stored, opset)


def chain(*kinds: tuple[Any, ...], shape: Sequence[int] = (4, 9, 10), opset: int = 13, **stored: np.ndarray) -> File:
    """File of nodes, each (type, further inputs, attributes), one behind the other."""
    nodes, before = [], "x"
    for i, (kind, *rest) in enumerate(kinds):
        after = "y" if i == len(kinds) - 1 else f"t{i}"
        more = rest[1] if len(rest) > 1 else {}
        nodes.append((kind, [before, *(rest[0] if rest else [])], [after], more))
        before = after
    return File(shape, nodes, stored, opset)


def resized(*arguments: np.ndarray | None, **more: Any) -> File:
    return one("Resize", *arguments, **{"shape": (2, 5, 6), **more})


SCALES = np.array([1, 1, 1.7, 0.6], np.float32)
