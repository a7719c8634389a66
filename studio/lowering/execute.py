"""Programs executed in torch, bit-equal to the runtimes.

Integer tensors travel as int8: a quarter of float32 in the preview's cache. Float32 tensors of centred
integers would save a fifth of a layer's time (measured: 2.6 against 3.2 ms, 16 channels of 32x32), but then
most of a network would not fit the cache's budget. In blocks (`blocks`) a whole pass takes 0.9 to 1.1 times
that of the float network (ResNet-20, ResNet8, MobileNet; 50 samples, one thread). Accumulators are exact:
float32 convolution on integers while no partial sum can leave 2^24, else float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from studio.lowering import listed as _listed
from studio.lowering import plain, weighted
from studio.lowering.blocks import in_blocks
from studio.lowering.listed import dequantize, quantize
from studio.lowering.program import Operation, Program


def listed(operation: Operation) -> bool:
    """True where runtimes may round otherwise: the result depends on the target."""
    return operation.listed


def run(operation: Operation, inputs: Sequence[Tensor], target: str | None = None) -> Tensor:
    """Output of one operation on a batch of N: int8 for integer operations, else float32.

    `inputs`: as `operation.inputs`, int8 or float32 after their formats. `target` ("onnx", "tflite")
    matters for listed operations only.
    """
    if operation.listed:
        return _listed.run(operation, inputs, target)
    if operation.kind == "quantize":
        target_format = operation.output_format
        assert target_format is not None
        return in_blocks(lambda part: quantize(part[0], target_format), inputs, inputs[0][0].numel())
    if operation.kind == "dequantize":
        assert operation.input_formats[0] is not None
        return dequantize(inputs[0], operation.input_formats[0])
    if operation.weights is not None:
        return weighted.run(operation, operation.weights, inputs[0])
    if operation.integer:
        return plain.run(operation, inputs)
    return weighted.run_float(operation, inputs)


def run_program(
    program: Program, x: Tensor | Sequence[Tensor], target: str | None = None, keep: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Outputs of a program, and the tensors named in `keep`, for a batch of N float32 samples.

    Samples run singly where the program's batch is not free.
    """
    feed = [x] if isinstance(x, Tensor) else list(x)
    with torch.inference_mode():
        if program.free_batch or len(feed[0]) <= 1:
            return _run_batch(program, feed, target, keep)
        rows = [_run_batch(program, [t[i : i + 1] for t in feed], target, keep) for i in range(len(feed[0]))]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _run_batch(program: Program, feed: Sequence[Tensor], target: str | None, keep: Sequence[str]) -> dict[str, Tensor]:
    wanted = {*program.outputs, *keep}
    last: Mapping[str, int] = {name: i for i, op in enumerate(program.operations) for name in op.inputs}
    values = dict(zip(program.inputs, feed, strict=True))
    for i, operation in enumerate(program.operations):
        values[operation.output] = run(operation, [values[name] for name in operation.inputs], target)
        for name in {*operation.inputs, operation.output}:
            if last.get(name, i) <= i and name not in wanted:
                values.pop(name, None)
    return {name: values[name] for name in wanted}
