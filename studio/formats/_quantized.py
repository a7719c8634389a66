"""Files that hold integers already: said as such, for no conversion makes them float networks."""

from __future__ import annotations

from pathlib import Path


def is_quantized_tflite(path: Path) -> bool:
    """True where a tensor of the first graph is int8 or uint8; False for a file that cannot be read."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        graph = schema.Model.GetRootAs(path.read_bytes()).Subgraphs(0)
        kinds = {graph.Tensors(i).Type() for i in range(graph.TensorsLength())}
    except Exception:  # whatever a damaged flatbuffer leads to
        return False
    return bool(kinds & {schema.TensorType.INT8, schema.TensorType.UINT8})
