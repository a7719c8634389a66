"""The LiteRT runner: layouts, batches, tensors inside, files from elsewhere."""

import numpy as np
import pytest
import torch

from studio import runtimes
from studio.core.encoding import Grid
from studio.core.errors import FileError, ModelError
from studio.export._tflite.write import write
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.runtimes.litert import LiteRtRunner


def program(free_batch=True):
    """Conv 3 -> 4, ReLU, max pool, on pictures of 6 x 8."""
    made = torch.Generator().manual_seed(1)
    weight = torch.randn((4, 3, 3, 3), generator=made)
    nodes = [
        Node("x", "x", (), op.Input((1, 3, 6, 8))),
        Node("conv", "conv", ("x",), op.Conv(weight, None, (1, 1), (1,) * 4, (1, 1), 1)),
        Node("relu", "relu", ("conv",), plain.Relu()),
        Node("pool", "pool", ("relu",), plain.MaxPool((2, 2), (2, 2), (0,) * 4)),
    ]
    net = Network("n", nodes, ["pool"], free_batch)
    x = torch.randn((7, 3, 6, 8), generator=made)
    ranges = {}
    Network("n", nodes, ["pool"]).run(
        (x,), visit=lambda n, v: ranges.__setitem__(n.name, (float(v.min()), float(v.max())))
    )
    q = (weight.numpy() * 20).round().clip(-127, 127).astype(np.int8)
    return lower(net, {"conv": Grid(q, np.full(1, 0.05, np.float32), None, 8)}, ranges), x.numpy()


@pytest.fixture
def written(tmp_path):
    made, x = program()
    path = tmp_path / "model.tflite"
    path.write_bytes(write(made, description={"preprocess": {"scale": 2.0}}))
    return path, made, x


def test_input_is_that_of_the_source_and_the_name_says_which_kernels(written):
    with runtimes.open(written[0]) as runner:
        assert runner.input_shape == (1, 3, 6, 8)
        assert runner.preprocess == {"scale": 2.0}
        assert runner.name.startswith("litert 2.")
        assert runner.name.endswith(" x xnnpack")
    assert LiteRtRunner(written[0], reference=True).name.endswith(" reference kernels")


def test_outputs_are_floats_in_the_layout_of_the_source(written):
    path, made, x = written
    expected = execute.run_program(made, torch.from_numpy(x), "tflite")[made.outputs[0]].numpy()
    with runtimes.open(path) as runner:
        (found,) = runner.run(x)
    assert found.dtype == np.float32
    assert found.shape == (7, 4, 3, 4)
    assert np.array_equal(found, expected)


def test_a_batch_gives_what_single_samples_give(written):
    path, _, x = written
    with runtimes.open(path) as runner:
        whole = runner.run(x)[0]
        single = np.concatenate([runner.run(x[i : i + 1])[0] for i in range(len(x))])
        assert np.array_equal(whole, single)
        assert np.array_equal(whole[:3], runner.run(x[:3])[0])


def test_a_batch_that_is_not_free_runs_sample_by_sample(tmp_path):
    made, x = program(free_batch=False)
    path = tmp_path / "fixed.tflite"
    path.write_bytes(write(made))
    free, _ = program()
    other = tmp_path / "free.tflite"
    other.write_bytes(write(free))
    with runtimes.open(path) as fixed, runtimes.open(other) as runner:
        assert np.array_equal(fixed.run(x)[0], runner.run(x)[0])
        assert fixed.tensors(x, ["relu"])["relu"].shape == (7, 4, 6, 8)


def test_tensors_inside_are_integers_in_the_layout_of_the_program(written):
    path, made, x = written
    ours = execute.run_program(made, torch.from_numpy(x), "tflite", keep=["x:int8", "relu", "pool"])
    with runtimes.open(path) as runner:
        found = runner.tensors(x, ["x:int8", "relu", "pool", "unknown"])
    assert set(found) == {"x:int8", "relu", "pool"}
    for name, value in found.items():
        assert np.array_equal(value, ours[name].numpy())


def test_input_rounds_ties_to_even_and_clamps(written):
    path, made, x = written
    scale, zero_point = np.float32(made.tensors["x:int8"].format.scale), made.tensors["x:int8"].format.zero_point
    steps = np.resize(np.array([0.5, 1.5, -0.5, -2.5, 1e9, -1e9], np.float32), x[:1].shape)
    with runtimes.open(path) as runner:
        found = runner.tensors(steps * scale, ["x:int8"])["x:int8"]
    wanted = np.resize(np.array([0, 2, 0, -2, 1e6, -1e6]), x[:1].shape) + zero_point
    exact = (steps * scale) / scale == steps  # ties that the product has kept
    assert exact.mean() > 0.5
    assert np.array_equal(found[exact], wanted.clip(-128, 127)[exact])


def test_latency_in_milliseconds(written):
    with runtimes.open(written[0]) as runner:
        median, high = runner.latency(written[2])
    assert 0 < median <= high < 1000


def test_damaged_files_are_named(written, tmp_path):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(written[0].read_bytes()[:200])
    with pytest.raises(ModelError, match=r"damaged\.tflite: LiteRT cannot open it"):
        runtimes.open(path)
    path.write_text("not a model at all")
    with pytest.raises(FileError, match=r"damaged\.tflite"):
        runtimes.open(path)


def test_files_from_elsewhere_are_taken_as_they_are(shared):
    """The reference ResNet8: pictures of 32 x 32 with channels last, scale 1 and -128, ten classes."""
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.float32)
    with runtimes.open(shared / "data/models/mlperftiny_ic_resnet8_int8.tflite") as runner:
        assert runner.input_shape == (1, 32, 32, 3)
        assert runner.preprocess is None
        (found,) = runner.run(x)
        one = runner.run(x[3:4])[0]
    assert found.shape == (12, 10)
    assert np.array_equal(found[3:4], one)
    assert np.abs(found.sum(1) - 1).max() < 0.03


def test_reference_kernels_are_another_arithmetic(shared):
    x = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.float32)
    path = shared / "data/models/mlperftiny_ic_resnet8_int8.tflite"
    names = ["model/dense/MatMul;model/dense/BiasAdd"]
    rows = [LiteRtRunner(path, reference=r).tensors(x, names)[names[0]] for r in (False, True)]
    assert (rows[0] != rows[1]).any()
    assert np.abs(rows[0].astype(int) - rows[1]).mean() < 5
