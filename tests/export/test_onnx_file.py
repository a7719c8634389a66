"""What an exported ONNX file says of itself, and that reading it back notices what is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from studio.core.encoding import Grid
from studio.core.errors import ExportError
from studio.export.targets._base import Stored
from studio.export.targets.onnx import TARGET
from studio.lowering import execute, lower
from studio.lowering.program import Operation, Program, TensorFormat, TensorInfo
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.runtimes.onnxruntime import OnnxRunner, session_of

DESCRIPTION = {"model": {"fingerprint": "sha256:1"}, "preprocess": {"scale": 0.5, "mean": [1.0]}}


def network(names=("x", "c1", "relu", "c2"), free_batch=True):
    made = torch.Generator().manual_seed(1)
    weights = [torch.randn(shape, generator=made) for shape in ((6, 3, 3, 3), (4, 6, 1, 1))]
    convs = [op.Conv(w, torch.randn(len(w), generator=made), (1, 1), (0,) * 4, (1, 1), 1) for w in weights]
    operators = [op.Input((1, 3, 8, 8)), convs[0], plain.Relu(), convs[1]]
    inputs = [(), *((name,) for name in names[:-1])]
    nodes = [Node(n, n, i, o) for n, i, o in zip(names, inputs, operators, strict=True)]
    return Network("two", nodes, names[-1:], free_batch)


def program_of(made, bits=8, group=None):
    weighted = [n for n in made.nodes if n.kind == "conv"]
    encodings = {}
    for node in weighted:
        weight = node.operator.weight.numpy()
        most = max(1, 2 ** (bits - 1) - 1)
        scale = (np.abs(weight).reshape(len(weight), -1).max(1) / most).astype(np.float32)
        q = np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
        if group:
            scale = (
                np.repeat(scale[:, None], -(-weight.shape[1] // group), 1)
                * np.float32([1, 0.5, 2])[: -(-weight.shape[1] // group)]
            )
        encodings[node.name] = Grid(
            q if bits > 1 else np.where(q < 0, q, 1).astype(np.int8), scale, 0, bits, False, group
        )
    return lower(made, encodings, {node.name: (-4.0, 4.0) for node in made.nodes})


@pytest.fixture(scope="module")
def program():
    return program_of(network())


def test_the_file_describes_itself(program):
    content = TARGET.write(program, DESCRIPTION, {})
    model = onnx.load_from_string(content)
    assert model.producer_name == "edge-studio"
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 13)])
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {"edge_studio": DESCRIPTION}
    assert [i.name for i in model.graph.input] == ["x"]
    assert not any(node.doc_string or node.name for node in model.graph.node)


def test_the_same_program_gives_the_same_bytes(program):
    assert TARGET.write(program, DESCRIPTION, {}) == TARGET.write(program_of(network()), DESCRIPTION, {})


@pytest.mark.parametrize(("free", "size"), [(True, "N"), (False, 1)])
def test_the_batch_is_free_where_the_network_s_is(free, size, tmp_path):
    content = TARGET.write(program_of(network(free_batch=free)), DESCRIPTION, {})
    session = session_of(content)
    assert session.get_inputs()[0].shape == [size, 3, 8, 8]
    assert session.get_outputs()[0].shape == [size, 4, 6, 6]
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    (tmp_path / "model.onnx").write_bytes(content)
    with OnnxRunner(tmp_path / "model.onnx") as runner:
        (together,) = runner.run(x)
        alone = np.concatenate([runner.run(x[i : i + 1])[0] for i in range(3)])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    "names", [("c0", "c1", "c2", "c3"), ("0", ":1", ":2", ":3"), ("a", "b", "b.weight", "c"), ("x", "x:f", "é", "ü x")]
)
def test_no_name_of_a_layer_meets_a_name_of_the_writer(names):
    program = program_of(network(names))
    assert TARGET.differences(TARGET.write(program, {}, {}), program, {}) == []


def test_a_reader_finds_the_layers_names_in_the_file(program):
    """The layer names of `DESIGN.md` come from the names of the weights."""
    model = onnx.load_from_string(TARGET.write(program, {}, {}))
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    assert shapes["c1.weight"] == (6, 3, 3, 3)
    assert shapes["c2.weight"] == (4, 6, 1, 1)


def changed(content, name, change):
    model = onnx.load_from_string(content)
    tensor = next(t for t in model.graph.initializer if t.name == name)
    value = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    return model.SerializeToString()


def one_more(array):
    array.reshape(-1)[0] += 1
    return array


def format_names(content, tensor):
    """Names of the scale and the zero point with which a tensor is quantized."""
    nodes = onnx.load_from_string(content).graph.node
    return next(n.input[1:] for n in nodes if n.op_type == "QuantizeLinear" and n.output[0] == tensor)


def test_reading_back_notices_every_number(program):
    content = TARGET.write(program, {}, {})
    assert TARGET.differences(content, program, {}) == []
    scale, zero = format_names(content, "c2:integers")
    layer = "c1.weight"
    scales = next(n for n in onnx.load_from_string(content).graph.node if n.input[0] == layer).input[1]
    for name, said in [
        (layer, "the weights of c1 are others in the file"),
        (f"{layer}:b", "the biases of c1 are others in the file"),
        (f"{layer}:z", "the weight scales of c1 are others in the file"),
        (scales, "the weight scales of c1 are others in the file"),
    ]:
        assert said in TARGET.differences(changed(content, name, one_more), program, {})
    for name in (scale, zero):
        found = TARGET.differences(changed(content, name, one_more), program, {})
        assert any(sentence.startswith("tensor c2 has scale") for sentence in found)


def test_the_output_has_the_networks_own_name(program, tmp_path):
    (tmp_path / "model.onnx").write_bytes(TARGET.write(program, {}, {}))
    session = ort.InferenceSession(tmp_path / "model.onnx")
    assert program.outputs == ("c2:float",)
    assert [output.name for output in session.get_outputs()] == ["c2"]


def test_reading_back_notices_the_container(program):
    content = TARGET.write(program, {}, {"onnx_weights": "uint8"})
    assert "the weights of c1 are not int8 in the file" in TARGET.differences(content, program, {})


def test_reading_back_notices_a_layer_that_runs_in_float(program):
    model = onnx.load_from_string(TARGET.write(program, {}, {}))
    quantizer = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.output[0] == "c2:integers")
    quantizer.input[0] = "late"
    model.graph.node.insert(list(model.graph.node).index(quantizer), onnx.helper.make_node("Sum", ["c2:f"], ["late"]))
    assert "c2 runs in QuantizeLinear here, not in QLinearConv" in TARGET.differences(
        model.SerializeToString(), program, {}
    )


def test_a_16_bit_tensor_is_a_conversion_with_a_zero_point_of_its_width():
    form = TensorFormat(0.125, -7, bits=16)
    operation = Operation("quantize", ("x",), ("x",), "q", True, input_formats=(None,), output_format=form)
    back = Operation("dequantize", ("x",), ("q",), "y", False, input_formats=(form,))
    infos = {"x": None, "q": form, "y": None}
    tensors = {name: TensorInfo(name, (1, 3), found) for name, found in infos.items()}
    made = Program("p", ("x",), ("y",), tensors, (operation, back))
    assert TARGET.can(operation, made) == Stored("", 0, "conversion")
    content = TARGET.write(made, {}, {})
    model = onnx.load_from_string(content)
    assert [t.data_type for t in model.graph.initializer] == [onnx.TensorProto.FLOAT, onnx.TensorProto.INT16]
    assert TARGET.differences(content, made, {}) == []
    x = np.array([[0.07, -5000.0, 4095.94]], np.float32)
    expected = (np.clip(np.rint(x / np.float32(0.125)) - 7, -32768, 32767) + 7) * np.float32(0.125)
    assert np.array_equal(session_of(content).run(None, {"x": x})[0], expected)


def test_an_unknown_container_is_named(program):
    with pytest.raises(ExportError, match="'int4' is no container for weights") as raised:
        TARGET.write(program, {}, {"onnx_weights": "int4"})
    assert raised.value.remedy == "Choose int8 or uint8."


def test_the_snippet_runs(program, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(TARGET.write(program, {}, {}))
    monkeypatch.chdir(tmp_path)
    names = {"x": np.zeros((2, 3, 8, 8), np.float32)}
    exec(TARGET.snippet({"input": {"name": "x", "shape": [1, 3, 8, 8]}}), names)
    assert names["outputs"][0].shape == (2, 4, 6, 6)


def test_saturation_is_a_risk_only_of_int8_pairs(program):
    assert "x64quantprecision" in TARGET.saturation_risk(program, {})
    assert TARGET.saturation_risk(program, {"onnx_weights": "uint8"}) is None


@pytest.mark.parametrize(
    ("weights", "risk"),
    [([64, 64, 64], False), ([64, 65, 0], True), ([-64, 65, 0], True), ([127, 1, 127], False), ([127, 0, 127], False)],
)
def test_the_risk_is_of_neighbours(weights, risk):
    # 255 * (|w1| + |w2|) <= 32767 holds up to a sum of 128.
    operator = op.Linear(torch.tensor([weights], dtype=torch.float32), None)
    made = Network("one", [Node("x", "x", (), op.Input((1, 3))), Node("fc", "fc", ("x",), operator)], ["fc"])
    encoding = Grid(np.array([weights], np.int8), np.float32([1]), 0, 8)
    program = lower(made, {"fc": encoding}, {"x": (-1.0, 1.0), "fc": (-200.0, 200.0)})
    assert (TARGET.saturation_risk(program, {}) is not None) == risk


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("container", ["int8", "uint8"])
def test_up_to_four_bits_lie_two_to_a_byte_and_run_in_integer_kernels(bits, container):
    made = program_of(network(), bits)
    options = {"onnx_weights": container}
    content = TARGET.write(made, {}, options)
    model = onnx.load_from_string(content)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    weight = next(t for t in model.graph.initializer if t.name == "c1.weight")
    assert weight.data_type == onnx.TensorProto.INT4
    assert len(weight.raw_data) == 6 * 3 * 3 * 3 // 2
    assert TARGET.differences(content, made, options) == []
    operation = made.by_output["relu"]
    found = TARGET.can(operation, made, options)
    assert (found.container, found.kernel) == ("int4", "integer kernel QLinearConv")
    # Two weights a byte, int32 biases, their scales and the weights' scales.
    zeros = 6
    assert found.bytes == 81 + 24 + 24 + 24 + zeros
    assert ("stored as int4" in found.note) == (bits < 4)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_int4_weights_give_the_preview_s_integers(bits, tmp_path):
    made = program_of(network(), bits)
    (tmp_path / "model.onnx").write_bytes(TARGET.write(made, {}, {}))
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    with OnnxRunner(tmp_path / "model.onnx") as runner:
        found = runner.tensors(x, ["relu", "c2"])
    expected = execute.run_program(made, torch.from_numpy(x), "onnx", keep=("relu", "c2"))
    for name in ("relu", "c2"):
        assert np.array_equal(found[name], expected[name].numpy())


def test_five_bits_and_more_stay_readable_by_old_runtimes():
    model = onnx.load_from_string(TARGET.write(program_of(network(), 5), {}, {}))
    assert (model.ir_version, model.opset_import[0].version) == (8, 13)
    assert next(t for t in model.graph.initializer if t.name == "c1.weight").data_type == onnx.TensorProto.INT8


def test_reading_back_notices_an_int4_weight(program):
    made = program_of(network(), 4)
    model = onnx.load_from_string(TARGET.write(made, {}, {}))
    weight = next(t for t in model.graph.initializer if t.name == "c1.weight")
    weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    assert "the weights of c1 are others in the file" in TARGET.differences(model.SerializeToString(), made, {})


def test_scales_of_groups_are_stored_and_the_layer_runs_in_float(tmp_path):
    made = program_of(network(), 4, group=2)
    content = TARGET.write(made, {}, {})
    assert TARGET.differences(content, made, {}) == []
    operation = next(op for op in made.operations if op.nodes[0] == "c2")
    assert operation.weights is None
    found = TARGET.can(operation, made, {})
    assert (found.container, found.kernel) == ("int4", "float kernel Conv, weights dequantized at each run")
    (tmp_path / "model.onnx").write_bytes(content)
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    with OnnxRunner(tmp_path / "model.onnx") as runner:
        (y,) = runner.run(x)
    expected = execute.run_program(made, torch.from_numpy(x), "onnx")["c2"].numpy()
    assert np.allclose(y, expected, atol=1e-4)


def test_a_mean_over_axes_is_written_for_the_newer_opset(tmp_path):
    """ReduceMean takes its axes as an input from opset 18 on."""
    convolution = op.Conv(torch.randn(4, 3, 1, 1), None, (1, 1), (0,) * 4, (1, 1), 1)
    nodes = [Node("x", "x", (), op.Input((1, 3, 8, 8))), Node("c1", "c1", ("x",), convolution),
             Node("m", "m", ("c1",), plain.ReduceMean((2,), False))]  # fmt: skip
    made = program_of(Network("mean", nodes, ["m"]), 4)
    content = TARGET.write(made, {}, {})
    assert TARGET.differences(content, made, {}) == []
    (tmp_path / "model.onnx").write_bytes(content)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    with OnnxRunner(tmp_path / "model.onnx") as runner:
        (y,) = runner.run(x)
    assert np.allclose(y, execute.run_program(made, torch.from_numpy(x), "onnx")["m"].numpy(), atol=0.05)
