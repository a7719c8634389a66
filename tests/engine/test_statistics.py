"""Statistics of one pass against plain numpy over all activations at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import studio.data
from studio import formats
from studio.core import registry
from studio.core.errors import Cancelled, DataError
from studio.data import Dataset
from studio.engine.statistics import BINS, Histogram, activated, collect, collect_key
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.cost import describe
from studio.network.fold import fold
from studio.network.network import Network, Node

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def conv(inputs: int, outputs: int) -> op.Conv:
    return op.Conv(normal(outputs, inputs, 3, 3), normal(outputs), (1, 1), (1, 1, 1, 1), (1, 1), 1)


def node(name: str, operator: op.Operator, *inputs: str) -> Node:
    return Node(name, name, inputs, operator)


def residual(free_batch: bool = True) -> Network:
    """x -> a -> relu -> b -> (+ relu) -> relu -> c."""
    nodes = [
        node("x", op.Input((1, 2, 6, 5))),
        node("a", conv(2, 4), "x"),
        node("a_relu", plain.Relu(), "a"),
        node("b", conv(4, 4), "a_relu"),
        node("sum", plain.Add(), "b", "a_relu"),
        node("sum_relu", plain.Relu(), "sum"),
        node("c", conv(4, 3), "sum_relu"),
    ]
    return Network("residual", nodes, ["c"], free_batch)


@pytest.fixture(name="dataset")
def fixture_dataset(tmp_path: Path) -> Dataset:
    x = np.random.default_rng(0).normal(size=(130, 2, 6, 5)).astype(np.float32)
    # Later chunks are larger, so that histograms must grow.
    x[60:] *= 5
    np.savez(tmp_path / "a.npz", x=x)
    return studio.data.open(tmp_path / "a.npz", input_shape=(1, 2, 6, 5))


@pytest.mark.parametrize("free_batch", [True, False])
def test_all_tensors_against_numpy(dataset: Dataset, free_batch: bool) -> None:
    network = residual(free_batch)
    indices = np.arange(128)[::-1]
    found = collect(network, dataset, indices)
    values = network.run((torch.from_numpy(dataset.batch(indices)),), keep=["x", "a", "a_relu", "b", "sum", "sum_relu"])
    assert found.samples == 128
    for name, value in values.items():
        a, t = value.double().numpy(), found.tensors[name]
        assert t.minimum == pytest.approx(a.min(), rel=1e-5)
        assert t.maximum == pytest.approx(a.max(), rel=1e-5)
        assert t.mean_absolute == pytest.approx(np.abs(a).mean(axis=(0, 2, 3)), rel=1e-5)
        assert t.zeros == pytest.approx((a == 0).mean(axis=(0, 2, 3)))
        assert t.count == 128 * 30
        assert t.counts.sum() == a.size
        # A value next to an edge may fall on its other side; sums over many bins hide none of them.
        expected, _ = np.histogram(a, t.edges[::64])
        assert np.abs(np.cumsum(expected) - np.cumsum(t.counts.reshape(-1, 64).sum(1))).max() <= 3


def test_the_activation_of_a_layer_is_behind_its_relu_also_after_an_add(dataset: Dataset) -> None:
    network = residual()
    # b's ReLU comes after the add; c has none and is its own.
    assert activated(network) == {"a": "a_relu", "b": "sum_relu", "c": "c"}
    found = collect(network, dataset, range(10))
    values = network.run((torch.from_numpy(dataset.batch(range(10))),), keep=["sum_relu"])["sum_relu"].numpy()
    assert found.channels("b").mean_absolute == pytest.approx(np.abs(values).mean(axis=(0, 2, 3)), rel=1e-5)
    assert found.channels("b", 0.5).threshold == 0.5


def test_a_tensor_read_twice_before_its_relu_is_not_followed() -> None:
    nodes = [
        node("x", op.Input((1, 2, 4, 4))), node("a", conv(2, 2), "x"), node("r", plain.Relu(), "a"),
        node("s", plain.Add(), "a", "r"),
    ]  # fmt: skip
    assert activated(Network("n", nodes, ["s"])) == {"a": "a"}


def test_covariance_of_channels(dataset: Dataset) -> None:
    network = residual()
    found = collect(network, dataset, range(70), covariance=["a"]).tensors
    a = network.run((torch.from_numpy(dataset.batch(range(70))),), keep=["a"])["a"].double().numpy()
    rows = a.transpose(1, 0, 2, 3).reshape(4, -1)
    assert found["a"].covariance is not None
    assert found["a"].covariance == pytest.approx(np.cov(rows, bias=True), rel=1e-5, abs=1e-6)
    assert found["a"].mean == pytest.approx(rows.mean(1), rel=1e-5, abs=1e-6)
    assert found["b"].covariance is None


def test_channels_of_a_linear_layer_over_sequences_lie_last(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(5, 7, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x)
    data = studio.data.open(tmp_path / "a.npz", input_shape=(1, 7, 3))
    nodes = [
        node("x", op.Input((1, 7, 3))),
        node("f", op.Linear(normal(4, 3), None), "x"),
        node("r", plain.Relu(), "f"),
    ]
    network = Network("n", nodes, ["r"])
    found = collect(network, data, range(5))
    values = network.run((torch.from_numpy(x),))["r"].numpy()
    assert found.channels("f").mean_absolute == pytest.approx(values.mean(axis=(0, 1)), rel=1e-5)


def test_progress_and_cancel(dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    collect(residual(), dataset, range(120), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(50, 120), (100, 120), (120, 120)]
    with pytest.raises(Cancelled):
        collect(residual(), dataset, range(120), cancelled=lambda: True)


def test_nan_names_the_layer(dataset: Dataset) -> None:
    network = residual()
    network.by_name["b"].operator.weight[0, 0, 0, 0] = float("nan")  # type: ignore[index,operator]
    with pytest.raises(DataError, match="'b' gives NaN"):
        collect(network, dataset, range(3))
    with pytest.raises(DataError, match="none are chosen"):
        collect(residual(), dataset, [])


def test_the_key_follows_samples_and_weights(dataset: Dataset) -> None:
    network = residual()
    key = collect_key(network, dataset, [1, 2])
    assert collect(network, dataset, [1, 2]).key == key == collect_key(network, dataset, np.array([1, 2]))
    assert key != collect_key(network, dataset, [2, 1])
    assert key != collect_key(residual(), dataset, [1, 2])
    assert key != collect_key(network, dataset, [1, 2], covariance=["a"])


@pytest.mark.shared
def test_real_activations_against_onnx_runtime(shared: Path) -> None:
    """ReLU outputs of ResNet-20 as ONNX Runtime computes them: mean activation and zeros of every channel."""
    path = shared / "data/models/cifar10_resnet20.onnx"
    network = fold(formats.read(path))
    data = studio.data.open(
        shared / "data/data/cifar10_test_a5k_jpeg.npz", input_shape=network.input_shape, samples=60,
        preprocess={"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    )  # fmt: skip
    found = collect(network, data, data.order())
    model = onnx.load(path)
    rectified = [n.output[0] for n in model.graph.node if n.op_type == "Relu"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in rectified)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    outputs = session.run(rectified, {session.get_inputs()[0].name: data.batch(range(60))})
    graph, names = describe(network), [n.name for n in network.nodes if n.kind == "relu"]
    layers = [layer for layer in graph.weighted if layer.rectified]
    assert len(layers) == len(rectified) == len(names) == 19
    for layer in layers:
        expected = outputs[names.index(found.activation[layer.name])]
        seen, weight = found.channels(layer.name), np.zeros((expected.shape[1], 1))
        mean = registry.find("criteria", "mean_activation").channels(weight, seen)
        apoz = registry.find("criteria", "apoz").channels(weight, seen)
        assert mean == pytest.approx(expected.mean(axis=(0, 2, 3)), rel=1e-4, abs=1e-5)
        assert apoz == pytest.approx((expected != 0).mean(axis=(0, 2, 3)), abs=1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mnist_cnn_cntk", "mlperftiny_ic_resnet8", "vww96_tinymaix", "kws_dscnn_alibaba"])
def test_rectified_layers_have_no_negative_activation(shared: Path, tmp_path: Path, name: str) -> None:
    network = fold(formats.read(shared / f"data/models/{name}.onnx"))
    x = np.random.default_rng(0).normal(size=(3, *network.input_shape[1:])).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x)
    found = collect(network, studio.data.open(tmp_path / "a.npz", input_shape=network.input_shape), range(3))
    assert set(found.tensors) == {n.name for n in network.nodes}
    for layer in describe(network).weighted:
        tensor = found.tensors[found.activation[layer.name]]
        channels = layer.weight_shape[layer.channel_axis]  # type: ignore[index]
        assert tensor.mean_absolute.shape == (channels,)
        if layer.rectified:
            assert tensor.minimum >= 0
            assert tensor.zeros.max() > 0


def fill(parts: list[np.ndarray]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(torch.from_numpy(part), float(part.min()), float(part.max()))
    return histogram


@pytest.mark.parametrize("scales", [(1, 1, 1), (1, 100, 1e4), (1e4, 1, 1e-3), (1, -300, 20)])
def test_a_histogram_grows_without_losing_a_value(scales: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    parts = [(rng.exponential(size=2000) * s).astype(np.float32) for s in scales]
    histogram, everything = fill(parts), np.concatenate(parts)
    assert histogram.counts.sum() == len(everything)
    assert histogram.edges[0] <= everything.min()
    assert histogram.edges[-1] >= everything.max()
    assert len(histogram.edges) == BINS + 1
    expected, _ = np.histogram(everything, histogram.edges)
    assert np.abs(np.cumsum(expected) - np.cumsum(histogram.counts)).max() <= 5


def test_zeros_before_any_other_value_stay_in_the_bin_of_zero() -> None:
    histogram = fill([np.zeros(7, np.float32), np.zeros(3, np.float32), np.array([-1, 3], np.float32)])
    place = int(np.searchsorted(histogram.edges, 0.0, "right")) - 1
    assert histogram.counts[place] == 10
    assert histogram.counts.sum() == 12
    only = fill([np.zeros(7, np.float32)])
    assert only.counts[0] == 7
    assert only.edges[0] == 0.0
