"""ONNX files in ONNX Runtime, whatever their input is like."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from studio import runtimes
from studio.core.errors import FileError, ModelError
from studio.runtimes._base import RUNS, WARM_UP, timed
from studio.runtimes.onnxruntime import OnnxRunner, kernels, session_of

X = np.arange(5 * 3, dtype=np.float32).reshape(5, 3)


def doubled(folder, shape=("N", 3), kind=TensorProto.FLOAT, inputs=1, metadata=None):
    """`y = x + x`, and the same for as many inputs."""
    names = [f"x{i}" for i in range(inputs)]
    nodes = [helper.make_node("Add", [name, name], [f"y{name[1:]}"]) for name in names]
    infos = [[helper.make_tensor_value_info(f"{p}{n[1:]}", kind, shape) for n in names] for p in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *infos), opset_imports=[helper.make_opsetid("", 14)], ir_version=8
    )
    if metadata:
        helper.set_model_props(model, metadata)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("batch", ["N", 1, 2, 5, 8])
def test_a_batch_of_any_size_goes_through_a_frozen_one(batch, tmp_path):
    with runtimes.open(doubled(tmp_path, (batch, 3))) as runner:
        assert runner.input_shape == (1, 3)
        (found,) = runner.run(X)
        assert found.dtype == np.float32
        assert np.array_equal(found, 2 * X)
        median, p90 = runner.latency(X)
        assert 0 < median <= p90


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT8])
def test_samples_are_converted_to_the_input_s_type(kind, tmp_path):
    with OnnxRunner(doubled(tmp_path, kind=kind)) as runner:
        (found,) = runner.run(X + np.float32(0.25) * (kind in (TensorProto.UINT8, TensorProto.INT8)))
        assert found.dtype == np.float32
        assert np.array_equal(found, 2 * X)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": 2}, "has 2 inputs"),
        ({"kind": TensorProto.INT64}, r"takes tensor\(int64\)"),
        ({"shape": ("N", 3, "H", "W")}, "the size of its input is open"),
        ({"shape": ()}, "the size of its input is open"),
    ],
)
def test_what_samples_cannot_be_fed_to_is_said(options, said, tmp_path):
    path = doubled(tmp_path, **options)
    with pytest.raises(ModelError, match=said) as raised:
        runtimes.open(path)
    assert raised.value.where == str(path)
    assert raised.value.remedy


def test_a_damaged_file_is_said_in_one_line(tmp_path):
    path = doubled(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match="ONNX Runtime cannot open it") as raised:
        runtimes.open(path)
    assert "\n" not in str(raised.value)


def test_the_preprocessing_comes_from_the_file(tmp_path):
    said = {"edge_studio": json.dumps({"preprocess": {"scale": 0.5}})}
    with OnnxRunner(doubled(tmp_path, metadata=said)) as runner:
        assert runner.preprocess == {"scale": 0.5}
        assert runner.name == f"onnxruntime {onnxruntime.__version__}"
    with OnnxRunner(doubled(tmp_path)) as runner:
        assert runner.preprocess is None


def test_only_quantized_tensors_are_given(tmp_path):
    scale, zero = (numpy_helper.from_array(np.array(v), n) for v, n in ((np.float32(2), "s"), (np.uint8(130), "z")))
    nodes = [
        helper.make_node("Add", ["x", "x"], ["float"]),
        helper.make_node("QuantizeLinear", ["float", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 3)) for name in "xy"]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], [scale, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with OnnxRunner(path) as runner:
        found = runner.tensors(X, ["q", "float", "absent"])
    # rint(2x / 2) + 130 as uint8 is x + 2 as int8.
    assert list(found) == ["q"]
    assert found["q"].dtype == np.int8
    assert np.array_equal(found["q"], X + 2)
    assert ("QuantizeLinear", "q") in kernels(model.SerializeToString())


def test_tensors_beside_the_file_are_read_and_others_are_not(tmp_path):
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    (tmp_path / "w.bin").write_bytes(np.float32([1, 2, 3]).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(np.float32([4, 5, 6]).tobytes())
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 3)) for name in "xy"]
    path = folder / "model.onnx"
    for location in ("w.bin", "../w.bin"):
        del weight.external_data[:]
        weight.external_data.add(key="location", value=location)
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", info[:1], info[1:], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        if location == "w.bin":
            assert np.array_equal(runtimes.open(path).run(X)[0], X + np.float32([4, 5, 6]))
        else:
            with pytest.raises(ModelError, match="cannot open it"):
                runtimes.open(path)


def test_every_session_is_exact_on_every_processor(monkeypatch):
    entries = {}
    real = onnxruntime.SessionOptions.add_session_config_entry
    monkeypatch.setattr(
        onnxruntime.SessionOptions, "add_session_config_entry",
        lambda self, key, value: (entries.__setitem__(key, value), real(self, key, value))[1],
    )  # fmt: skip
    with pytest.raises(Exception, match=r"ModelProto|parse|model"):
        session_of(b"nothing")
    assert entries == {"session.x64quantprecision": "1"}


def test_latency_is_taken_after_warming_up():
    calls = []
    median, p90 = timed(lambda: calls.append(1))
    assert len(calls) == WARM_UP + RUNS
    assert 0 <= median <= p90


@pytest.mark.parametrize(
    ("name", "said"), [("m.keras", "cannot be opened"), ("m.txt", "is no model file"), ("m.ONNX", "ONNX Runtime")]
)
def test_other_files_are_said_to_be_so(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"text")
    with pytest.raises(FileError, match=said):
        runtimes.open(tmp_path / name)
    with pytest.raises(FileError, match="there is no such file"):
        runtimes.open(tmp_path / "absent.onnx")
    with pytest.raises(FileError, match="is a folder"):
        runtimes.open(tmp_path)
