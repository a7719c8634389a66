"""int4 by today's other tools, written to files: run as a script, with their packages on its path alone.

`python _low_bit_peers.py quantizer MODEL.tflite OUT.tflite`: ai-edge-quantizer, weight-only int4.
`python _low_bit_peers.py onnxruntime MODEL.onnx SAMPLES.npy OUT.onnx`: quantize_static, QDQ, QInt4 weights per channel.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def quantizer(model: str, out: str) -> None:
    """Write a .tflite with int4 weights."""
    from ai_edge_quantizer import quantizer as tool
    from ai_edge_quantizer import recipe

    made = tool.Quantizer(model)
    made.load_quantization_recipe(recipe.weight_only_wi4_afp32())
    Path(out).write_bytes(bytes(made.quantize().quantized_model))


def runtime(model: str, samples: str, out: str) -> None:
    """Write an .onnx with int4 weights and uint8 activations, calibrated by min-max."""
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            name = onnx.load(model).graph.input[0].name
            self.rows = iter([{name: row[None]} for row in np.load(samples)])

        def get_next(self) -> Any:
            return next(self.rows, None)

    converted = Path(out).with_suffix(".opset21.onnx")
    onnx.save(onnx.version_converter.convert_version(onnx.load(model), 21), converted)
    quantize_static(
        str(converted), out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt4,
    )  # fmt: skip


if __name__ == "__main__":
    {"quantizer": quantizer, "onnxruntime": runtime}[sys.argv[1]](*sys.argv[2:])
