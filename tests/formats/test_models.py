"""Every real model: the torch output against ONNX Runtime's, on real inputs where there are any; its layer names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

import studio.data
from studio import formats
from studio.formats._onnx.names import Names, readable
from studio.network.fold import fold
from studio.network.network import Network

GOLDEN: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden_names.json").read_text())
FREE = dict.fromkeys(GOLDEN, True) | {"fastestdet_coco": False}
SAMPLES = 4


def case_of(model: str, shared: Path) -> dict[str, Any] | None:
    cases = json.loads((shared / "data" / "CASES.json").read_text())["cases"]
    return next((case for case in cases if Path(case["model"]).stem == model), None)


def inputs(model: str, network: Network, shared: Path) -> np.ndarray:
    """Real samples in the network's shape; random pixels where there is no data."""
    case = case_of(model, shared)
    if case is None:
        return np.random.default_rng(0).uniform(0, 255, (SAMPLES, *network.input_shape[1:])).astype(np.float32)
    preprocess = {key: value for key, value in case["preprocess"].items() if value != "as stored"}
    label = "person_vww" if "person_vww" in case.get("labels", "") else None
    data = studio.data.open(
        shared / "data" / case["data"], input_shape=network.input_shape, preprocess=preprocess, label=label
    )
    return data.batch(data.order()[:SAMPLES])


def session_of(path: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(path if isinstance(path, bytes) else str(path), options)


def expected(session: onnxruntime.InferenceSession, x: np.ndarray) -> list[np.ndarray]:
    """Outputs of single samples, one behind the other."""
    first = session.get_inputs()[0]
    kind = np.float16 if "float16" in first.type else np.float32
    rows = [session.run(None, {first.name: x[i : i + 1].astype(kind)}) for i in range(len(x))]
    return [np.concatenate(parts).astype(np.float32) for parts in zip(*rows, strict=True)]


def worst(found: tuple[torch.Tensor, ...], wanted: list[np.ndarray]) -> float:
    """Largest difference of an output in shares of its range."""
    return max(
        float(np.abs(a.numpy() - b.reshape(a.shape)).max() / (b.max() - b.min()))
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("model", GOLDEN)
def test_output_equals_onnx_runtime(model: str, shared: Path) -> None:
    torch.set_num_threads(1)
    path = shared / "data" / "models" / f"{model}.onnx"
    network = formats.read(path)
    x = inputs(model, network, shared)
    if model.startswith("squeezenet"):
        x = x[:1]
    wanted = expected(session_of(path), x)
    tolerance = 2e-3 if "fp16" in model else 1e-4
    assert worst(network(torch.from_numpy(x)), wanted) <= tolerance
    assert worst(fold(network)(torch.from_numpy(x)), wanted) <= tolerance


def test_every_model_has_golden_names(shared: Path) -> None:
    assert sorted(GOLDEN) == sorted(path.stem for path in (shared / "data" / "models").glob("*.onnx"))


def widened(path: Path) -> bytes:
    """The file with float32 in the place of float16."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    content: bytes = model.SerializeToString()
    return content


def test_float16_equals_the_same_file_widened(shared: Path) -> None:
    path = shared / "data" / "models" / "squeezenet_imagenet_fp16.onnx"
    network = formats.read(path)
    x = np.random.default_rng(0).uniform(0, 255, network.input_shape).astype(np.float32)
    assert worst(network(torch.from_numpy(x)), expected(session_of(widened(path)), x)) <= 1e-4
    tensors = [t for node in network.nodes for t in node.operator.state_dict().values()]
    assert {t.dtype for t in tensors} == {torch.float32}


@pytest.mark.parametrize("model", [m for m in GOLDEN if not m.startswith(("squeezenet", "face"))])
def test_a_batch_equals_single_samples(model: str, shared: Path) -> None:
    torch.set_num_threads(1)
    network = formats.read(shared / "data" / "models" / f"{model}.onnx")
    assert network.free_batch is FREE[model]
    x = torch.from_numpy(inputs(model, network, shared)[:3])
    together = network(x)
    for i in range(3):
        for whole, alone in zip(together, network(x[i : i + 1]), strict=True):
            assert whole.shape[0] == 3
            assert float((whole[i : i + 1] - alone).abs().max()) <= 1e-4 * float(alone.max() - alone.min())


@pytest.mark.parametrize("model", GOLDEN)
def test_names_stay_for_ever(model: str, shared: Path) -> None:
    network = formats.read(shared / "data" / "models" / f"{model}.onnx")
    assert [node.name for node in network.nodes] == GOLDEN[model]
    assert len(set(GOLDEN[model])) == len(GOLDEN[model])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("/layer3/layer3.1/conv1/Conv", "layer3.1.conv1"),
        ("/conv1/Conv", "conv1"),
        ("model/a/BiasAdd;model/b/Conv2D;model/c/BiasAdd", "model.c"),
        ("fc/MatMul", "fc"),
        ("/block/Relu6", "block"),
        ("/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/layer1/layer10/Conv", "layer1.layer10"),  # no doubled part: no dot behind the first
        ("/", ""),
        ("", ""),
    ],
)
def test_readable(written: str, name: str) -> None:
    assert readable(written) == name


def test_the_weights_name_comes_first_where_it_is_one() -> None:
    names = Names()
    assert names.make("conv", "Conv_0", "12", "conv1_w_0") == "conv1"
    assert names.make("conv", "Conv_1", "13", "backbone.stem.weight") == "backbone.stem"
    assert names.make("conv", "Conv_2", "14", "block/kernel:0") == "block"
    assert names.make("conv", "Conv_3", "15", "onnx::Conv_123.weight") == "Conv_3"
    assert names.make("conv", "Conv_4", "16", "123.weight") == "Conv_4"
    assert names.make("conv", "", "17", "const_fold__3") == "17"


def test_names_are_made_where_there_are_none_and_stay_apart() -> None:
    names = Names()
    found = [
        names.make(*given) for given in [("conv", "", "/"), ("conv", "", "/"), ("relu", "", "/"), ("conv", "a", "")]
    ]
    assert found == ["conv1", "conv2", "relu1", "a"]
    assert [names.make("conv", "a", ""), names.make("conv", "conv1", "")] == ["a_2", "conv1_2"]
