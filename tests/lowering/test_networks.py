"""Real networks: every integer tensor of the preview against the written files in their runtimes."""

import numpy as np
import pytest
import torch

from studio import formats
from studio import runtimes as real
from studio.core import registry
from studio.core.encoding import Grid
from studio.lowering import execute, lower
from studio.network.fold import fold

MODELS = ["cifar10_resnet20", "mlperftiny_ic_resnet8", "kws_dscnn_alibaba", "vww96_tinymaix", "traffic_signs43_cnn"]
SAMPLES = 3


def per_channel(weight, bits):
    top = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-9).astype(np.float32) / np.float32(top)
    return Grid(np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8), scale, 0, bits)


def int8_program(path, bits=8):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = fold(formats.read(path))
    x = torch.rand(SAMPLES, *network.input_shape[1:])
    ranges = {}
    network.run([x], visit=lambda n, v: ranges.__setitem__(n.name, (float(v.min()), float(v.max()))))
    weighted = [n for n in network.nodes if n.kind in ("conv", "linear")]
    encodings = {n.name: per_channel(n.operator.weight.numpy(), bits) for n in weighted}
    return lower(network, encodings, ranges, {}), x + torch.randn_like(x) / 4


@pytest.mark.parametrize("name", MODELS)
def test_every_integer_tensor_equals_both_runtimes(name, shared, tmp_path):
    program, x = int8_program(shared / "data" / "models" / f"{name}.onnx")
    names = [op.output for op in program.operations if op.output_format is not None]
    assert not any(op.kind in ("conv", "linear") and not op.integer for op in program.operations)
    for target in ("onnx", "tflite"):
        writer = registry.find("export.targets", target)
        path = tmp_path / writer.file_name
        path.write_bytes(writer.write(program, {}, {}))
        ours = execute.run_program(program, x, target, keep=names)
        with real.open(path) as runner:
            found = runner.tensors(x.numpy(), names)
            outputs = runner.run(x.numpy())
        assert len(found) > 0.7 * len(names)
        assert [n for n in found if not np.array_equal(found[n], ours[n].numpy())] == []
        for output, expected in zip(outputs, program.outputs, strict=True):
            assert np.array_equal(output, ours[expected].numpy())


def test_nothing_is_listed_in_resnet20(shared):
    program, _ = int8_program(shared / "data" / "models" / "cifar10_resnet20.onnx", bits=4)
    assert [op.output for op in program.operations if op.listed] == []
    assert program.float_layers == ()
