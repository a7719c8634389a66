"""`model.tflite`: full-integer int8 for LiteRT and LiteRT for Microcontrollers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from studio import runtimes
from studio.export.targets._base import Refusal, Stored, weight_bytes, wider
from studio.lowering.program import Operation, Program

KEPT = ("preprocess", "layout")
"""Parts of an export's description that travel inside the file."""


class TfliteTarget:
    """Int8 in, inside and out, channels last; operators that stay float stand between conversions."""

    name: ClassVar[str] = "tflite"
    title: ClassVar[str] = "LiteRT int8"
    file_name: ClassVar[str] = "model.tflite"
    help: ClassVar[str] = "LiteRT (TensorFlow Lite) on phones and microcontrollers: int8 in and out, channels last."
    in_float: ClassVar[bool] = False

    def can(self, operation: Operation, program: Program, options: Mapping[str, Any] | None = None) -> Stored | Refusal:
        """What lies in the file and what runs."""
        from studio.export._tflite import support

        reason = support.refusal(operation, program)
        if reason is not None:
            return Refusal(reason)
        container = support.container(operation, program)
        size = weight_bytes(operation)
        if container == "int4" and operation.weights is not None:
            size -= operation.weights.q.size // 2
        return Stored(container, size, support.kernel(operation, program), wider(operation, container))

    def write(self, program: Program, description: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        """Return the whole file."""
        from studio.export._tflite.write import write

        return write(program, description={key: description[key] for key in KEPT if key in description})

    def differences(self, content: bytes, program: Program, options: Mapping[str, Any]) -> list[str]:
        """Read the file back and compare data types, integers, scales and zero points with the program."""
        from studio.export._tflite.read_back import differences

        return differences(content, program)

    def saturation_risk(self, program: Program, options: Mapping[str, Any]) -> str | None:
        """Return None: int8 x int8 products saturate on no processor."""
        return None

    def open(self, path: Path, program: Program) -> runtimes.Runner:
        """Open in the file's own runtime."""
        return runtimes.open(path)

    def snippet(self, description: Mapping[str, Any]) -> str:
        """Python that runs the file."""
        return (
            "from ai_edge_litert.interpreter import Interpreter\n"
            'interpreter = Interpreter("model.tflite")\n'
            "interpreter.allocate_tensors()\n"
            "source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]\n"
            "# x: preprocessed as the manifest says, channels last, of shape source['shape']\n"
            "if source['dtype'] == np.int8:\n"
            "    scale, zero_point = source['quantization']\n"
            "    x = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)\n"
            "interpreter.set_tensor(source['index'], x)\n"
            "interpreter.invoke()\n"
            "y = interpreter.get_tensor(result['index'])\n"
        ).replace("from ai_edge_litert", "import numpy as np\nfrom ai_edge_litert", 1)


TARGET = TfliteTarget()
