"""What an exported ONNX file says of itself, and that reading it back notices what is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from studio.core.encoding import Grid
from studio.core.errors import ExportError
from studio.export.targets._base import Refusal
from studio.export.targets.onnx import TARGET
from studio.lowering import lower
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


def program_of(made):
    weighted = [n for n in made.nodes if n.kind == "conv"]
    encodings = {}
    for node in weighted:
        weight = node.operator.weight.numpy()
        scale = (np.abs(weight).reshape(len(weight), -1).max(1) / 127).astype(np.float32)
        encodings[node.name] = Grid(np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8), scale, 0, 8)
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
    scale, zero = format_names(content, "c2")
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


def test_reading_back_notices_the_container(program):
    content = TARGET.write(program, {}, {"onnx_weights": "uint8"})
    assert "the weights of c1 are not int8 in the file" in TARGET.differences(content, program, {})


def test_reading_back_notices_a_layer_that_runs_in_float(program):
    model = onnx.load_from_string(TARGET.write(program, {}, {}))
    quantizer = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.output[0] == "c2")
    quantizer.input[0] = "late"
    model.graph.node.insert(list(model.graph.node).index(quantizer), onnx.helper.make_node("Sum", ["c2:f"], ["late"]))
    assert "c2 runs in QuantizeLinear here, not in QLinearConv" in TARGET.differences(
        model.SerializeToString(), program, {}
    )


def test_wider_activations_are_refused_with_a_sentence():
    form = TensorFormat(0.1, 0, bits=16)
    operation = Operation("quantize", ("x",), ("x",), "q", True, input_formats=(None,), output_format=form)
    tensors = {"x": TensorInfo("x", (1, 3), None), "q": TensorInfo("q", (1, 3), form)}
    found = TARGET.can(operation, Program("p", ("x",), (), tensors, (operation,)))
    assert found == Refusal("ONNX Runtime computes on 8-bit activations, not on 16 bits.")


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
