"""ONNX files, opset 7 to 22, IR 3 upwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from studio.network.network import Network


class OnnxReader:
    """Reads float ONNX networks; batch norm stays as nodes of its own."""

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX"
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    help: ClassVar[str] = "Float networks, opset 7 to 22; weights in float32, float16 or double."

    def read(self, path: Path) -> Network:
        """Network from a file; raises ModelError that names file, node and remedy."""
        from studio.formats._onnx.load import initializers, load

        model = load(path)
        stored = initializers(model.graph, path)
        # Only now, for torch takes longer than to find out that a file is damaged.
        from studio.formats._onnx.build import build

        return build(model, path, stored)


READER = OnnxReader()
