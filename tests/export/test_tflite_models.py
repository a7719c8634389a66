"""Real networks as .tflite: every integer tensor equal to the program's, bytes within the reference files'."""

import numpy as np
import pytest
import torch

from studio import formats
from studio.core.encoding import Grid
from studio.export._tflite.write import write
from studio.lowering import execute, lower
from studio.network import fold
from studio.runtimes.litert import LiteRtRunner

MODELS = {
    "mlperftiny_ic_resnet8.onnx": 98_496,
    "vww96_tinymaix.onnx": 303_440,
    "cifar10_resnet20.onnx": 329_238,
    "kws_dscnn_alibaba.onnx": 33_752,
    "mnist_cnn_cntk.onnx": 19_659,
    "traffic_signs43_cnn.onnx": 1_198_171,
    "cifar10_smallcnn_wml.onnx": 57_657,
    "fastestdet_coco.onnx": 998_169,
}
"""Largest size of the file in bytes: what the reference .tflite or the best other tool takes."""
SAMPLES = 4


def program(path):
    """Int8 weights per channel, ranges of a few random samples."""
    network = fold.fold(formats.read(path))
    made = torch.Generator().manual_seed(0)
    x = torch.rand((SAMPLES, *network.input_shape[1:]), generator=made) * 2 - 1
    ranges = {node.name: (0.0, 0.0) for node in network.nodes}

    def widen(node, value):
        low, high = ranges[node.name]
        ranges[node.name] = (min(low, float(value.min())), max(high, float(value.max())))

    for batch in x.split(SAMPLES if network.free_batch else 1):
        network.run((batch,), visit=widen)
    encodings = {}
    for node in network.nodes:
        if node.kind in ("conv", "linear"):
            weight = node.operator.weight.numpy()
            largest = np.abs(weight).reshape(len(weight), -1).max(1)
            scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
            encodings[node.name] = Grid(q, scale, 0, 8)
    return lower(network, encodings, ranges), x


@pytest.mark.parametrize("name", MODELS)
def test_every_integer_tensor_equals_the_programs(name, shared, tmp_path):
    made, x = program(shared / "data/models" / name)
    path = tmp_path / "model.tflite"
    path.write_bytes(write(made))
    assert path.stat().st_size <= MODELS[name]
    names = [o.output for o in made.operations if made.tensors[o.output].format is not None]
    ours = execute.run_program(made, x, "tflite", keep=names)
    with LiteRtRunner(path) as runner:
        theirs = runner.tensors(x.numpy(), names)
        outputs = runner.run(x.numpy())
    missing = {made.by_output[tensor].kind for tensor in names if tensor not in theirs}
    assert missing <= {"reshape", "transpose"}  # views of other tensors
    listed = behind_listed(made)
    steps = {tensor: np.abs(found.astype(int) - ours[tensor].numpy()) for tensor, found in theirs.items()}
    assert [tensor for tensor, step in steps.items() if tensor not in listed and step.any()] == []
    # From a listed operator on, another processor's XNNPACK may round otherwise; here all are equal.
    assert [tensor for tensor, step in steps.items() if tensor in listed and step.mean() > 0.5] == []
    for found, output in zip(outputs, made.outputs, strict=True):
        assert found.shape == tuple(ours[output].shape)
        assert output in listed or np.array_equal(found, ours[output].numpy())


def behind_listed(made):
    """Tensors that depend on a listed operator or a float one."""
    found = set()
    for operation in made.operations:
        floats = not operation.integer and operation.kind != "dequantize"
        if operation.listed or floats or found.intersection(operation.inputs):
            found.add(operation.output)
    return found
