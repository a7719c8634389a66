"""Every real .onnx opens, keeps its names for ever, and computes what ONNX Runtime computes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

from studio import formats
from studio.network.cost import describe
from studio.network.fold import fold
from studio.network.network import Network

NAMES: dict[str, list[str]] = json.loads(Path(__file__).with_name("layer_names.json").read_text())
"""Checked by eye against the rule in DESIGN, "Layer names"; a change here breaks people's plan files."""
MODELS = sorted(NAMES)
SAMPLES = 5


def photos(shared: Path, size: tuple[int, int]) -> np.ndarray:
    """Photographs (N, 3, height, width), 0..255."""
    files = sorted((shared / "data" / "attention" / "coco128_train2017" / "images").iterdir())[:SAMPLES]
    pictures = [Image.open(f).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR) for f in files]
    return np.stack([np.asarray(p, np.float32) for p in pictures]).transpose(0, 3, 1, 2)


def cifar(shared: Path) -> np.ndarray:
    with np.load(shared / "data" / "data" / "cifar10_test_a5k_jpeg.npz") as file:
        blob, at = file["blob"], file["offsets"]
    places = range(0, 5000, 5000 // SAMPLES)
    pictures = [np.asarray(Image.open(io.BytesIO(blob[at[i] : at[i + 1]].tobytes())), np.float32) for i in places]
    return np.stack(pictures).transpose(0, 3, 1, 2)


def stored(shared: Path, name: str) -> np.ndarray:
    with np.load(shared / "data" / "data" / name) as file:
        x = file["x"]
        return x[:: len(x) // SAMPLES][:SAMPLES].astype(np.float32)


def signs(shared: Path) -> np.ndarray:
    files = sorted((shared / "data" / "data" / "gtsrb_crops_a100").glob("**/*.png"))[:SAMPLES]
    pictures = [Image.open(f).convert("RGB").resize((30, 30), Image.Resampling.BILINEAR) for f in files]
    return np.stack([np.asarray(p, np.float32) for p in pictures]).transpose(0, 3, 1, 2) / 255


def normalised(x: np.ndarray) -> np.ndarray:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((x / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)).astype(np.float32)


REAL: dict[str, Callable[[Path], np.ndarray]] = {
    "cifar10_resnet20.onnx": lambda s: normalised(cifar(s)),
    "cifar10_smallcnn_wml.onnx": lambda s: cifar(s) / 127.5 - 1,
    "face_yunet_n_320.onnx": lambda s: photos(s, (320, 320))[:, ::-1].copy(),
    "fastestdet_coco.onnx": lambda s: photos(s, (352, 352)) / 255,
    "kws_dscnn_alibaba.onnx": lambda s: stored(s, "kws_mfcc_a500.npz")[..., None],
    "mlperftiny_ad_autoencoder.onnx": lambda s: stored(s, "ad_toycar_normal_windows40.npz"),
    "mlperftiny_ic_resnet8.onnx": cifar,
    "mnist_cnn_cntk.onnx": lambda s: stored(s, "mnist_test_even5k.npz")[:, None],
    "squeezenet_imagenet_fp16.onnx": lambda s: photos(s, (224, 224)) - 117,
    "traffic_signs43_cnn.onnx": signs,
    "vww96_tinymaix.onnx": lambda s: photos(s, (96, 96)) / 255,
}


def expected(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """Outputs of ONNX Runtime, each sample run alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    kind = np.float16 if "float16" in value.type else np.float32
    rows = [session.run(None, {value.name: sample[None].astype(kind)}) for sample in x]
    return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with every float16 made float32."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    del wide.graph.value_info[:]
    return wide


def error(network: Network, x: np.ndarray, outputs: list[np.ndarray]) -> float:
    """Largest difference, as a share of each output's range; shapes must be the same."""
    found = network(torch.from_numpy(np.ascontiguousarray(x, np.float32)))
    assert [tuple(y.shape) for y in found] == [y.shape for y in outputs]
    return max(
        float(np.abs(y.numpy() - o).max() / np.ptp(o.astype(np.float64))) for y, o in zip(found, outputs, strict=True)
    )


def test_every_model_is_listed(shared: Path) -> None:
    assert sorted(p.name for p in (shared / "data" / "models").glob("*.onnx")) == MODELS == sorted(REAL)


@pytest.mark.parametrize("name", MODELS)
def test_network_equals_onnx_runtime_on_real_samples(name: str, shared: Path) -> None:
    path = shared / "data" / "models" / name
    network, model, x = formats.read(path), onnx.load(path), REAL[name](shared)
    assert len(x) == SAMPLES
    own = expected(model, x)
    half = any(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer)
    if half:
        assert error(network, x, own) < 2e-3
        own = expected(widened(model), x)
    assert error(network, x, own) < 1e-4
    assert error(fold(network), x, own) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_names_stay_for_ever(name: str, shared: Path) -> None:
    path = shared / "data" / "models" / name
    network = formats.read(path)
    assert [node.name for node in network.nodes] == NAMES[name]
    assert len(set(NAMES[name])) == len(NAMES[name])


@pytest.mark.parametrize(
    ("name", "layer", "source"),
    [
        ("cifar10_resnet20.onnx", "layer3.1.conv1", "/layer3/layer3.1/conv1/Conv"),
        ("cifar10_smallcnn_wml.onnx", "fc1", "Gemm_11"),  # by its weight, fc1.weight
        ("squeezenet_imagenet_fp16.onnx", "conv1", "conv1_1"),  # by its weight, conv1_w_0; its node has no name
        ("kws_dscnn_alibaba.onnx", "functional_1.conv2d", "functional_1/conv2d/BiasAdd"),
        ("face_yunet_n_320.onnx", "backbone.model0.conv2.conv1", "Conv_2"),
    ],
)
def test_layers_are_found_by_both_names(name: str, layer: str, source: str, shared: Path) -> None:
    graph = describe(fold(formats.read(shared / "data" / "models" / name)))
    assert graph.layer(layer) is graph.layer(source)
    assert graph.layer(layer).weighted


def test_a_name_of_many_joined_parts_becomes_readable(shared: Path) -> None:
    network = formats.read(shared / "data" / "models" / "mlperftiny_ic_resnet8.onnx")
    first = next(node for node in network.nodes if node.kind == "conv")
    assert first.source.startswith("model/activation/Relu;model/batch_normalization") and len(first.source) > 170
    assert first.name == "model.conv2d"


def test_frozen_batches_are_freed_where_samples_stay_apart(shared: Path) -> None:
    """Of the files with a batch of 1 only fastestdet folds the batch into its channel shuffle."""
    for name in MODELS:
        assert formats.read(shared / "data" / "models" / name).free_batch is (name != "fastestdet_coco.onnx"), name
