"""What stands in a written .tflite: operators, names, integers, bytes, and what `can` said of it."""

import json

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from studio.core.encoding import Dense, Grid
from studio.core.errors import Refused
from studio.core.registry import find
from studio.export._tflite import model_file
from studio.export._tflite.write import KINDS
from studio.export.targets._base import Refusal, Stored
from studio.lowering import lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node

TARGET = find("export.targets", "tflite")
DESCRIPTION = {"preprocess": {"scale": 0.5, "mean": [1.0]}, "layout": "NCHW", "classes": ["a"] * 1000}
CODES = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}


def network(*more, groups=1, dilation=1):
    """Conv 3 -> 6 with ReLU, what is given, flatten, linear."""
    made = torch.Generator().manual_seed(0)
    weight, bias = torch.randn((6, 3, 3, 3), generator=made), torch.randn(6, generator=made)
    nodes = [
        Node("x", "x", (), op.Input((1, 3, 8, 8))),
        Node("conv", "conv", ("x",), op.Conv(weight, bias, (1, 1), (1,) * 4, (dilation, dilation), groups)),
        Node("relu", "relu", ("conv",), plain.Relu()),
    ]
    for number, operator in enumerate(more):
        nodes.append(Node(f"more{number}", "", (nodes[-1].name,), operator))
    x = torch.randn((4, 3, 8, 8), generator=made)
    features = Network("n", nodes, [nodes[-1].name])(x)[0][0].numel()
    nodes.append(Node("flat", "flat", (nodes[-1].name,), plain.Reshape((features,))))
    weight = torch.randn((5, features), generator=made)
    nodes.append(Node("fc", "fc", ("flat",), op.Linear(weight, torch.randn(5, generator=made))))
    return Network("n", nodes, ["fc"]), x


def program(built, bits=8, left_float=(), per_channel=True):
    net, x = built
    ranges, encodings = {}, {}
    net.run((x,), visit=lambda node, v: ranges.__setitem__(node.name, (float(v.min()), float(v.max()))))
    for node in net.nodes:
        if node.kind in ("conv", "linear"):
            w = node.operator.weight.numpy()
            rows = np.abs(w).reshape(len(w) if per_channel else 1, -1).max(1)
            scale = (rows / (2 ** (bits - 1) - 1)).astype(np.float32)
            q = np.rint(w / scale.reshape(-1, *[1] * (w.ndim - 1))).astype(np.int8)
            encodings[node.name] = (
                Dense(w) if node.name in left_float else Grid(q, scale, 0 if per_channel else None, bits)
            )
    return lower(net, encodings, ranges)


def test_every_operator_kind_has_a_way_into_the_file():
    def kinds(base):
        return {
            k
            for c in base.__subclasses__()
            for k in ({c.__dict__["kind"]} if "kind" in c.__dict__ else set()) | kinds(c)
        }

    assert KINDS >= kinds(op.Operator) - {"input"}


def parsed(content):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    graph = model.subgraphs[0]
    kinds = [CODES[model.operatorCodes[o.opcodeIndex].builtinCode] for o in graph.operators]
    return model, graph, kinds, {tensor.name.decode(): tensor for tensor in graph.tensors}


def written(p):
    return TARGET.write(p, DESCRIPTION, {})


def test_full_integer_file_has_int8_borders_and_no_conversions():
    p = program(network())
    _, graph, kinds, tensors = parsed(written(p))
    assert kinds == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    source, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (source.name, result.name) == (b"x", b"fc")
    assert source.type == result.type == schema.TensorType.INT8
    assert source.shape.tolist() == [1, 8, 8, 3]
    assert source.shapeSignature.tolist() == [-1, 8, 8, 3]
    planned = p.tensors["x:int8"].format
    assert (source.quantization.scale[0], source.quantization.zeroPoint[0]) == (planned.scale, planned.zero_point)
    assert set(tensors) >= {"x", "relu", "flat", "fc", "conv.weight", "conv.bias", "fc.weight", "fc.bias"}


def test_weights_have_channels_last_and_columns_follow_the_flattened_picture():
    p = program(network())
    model, _, _, tensors = parsed(written(p))

    def content(name, kind):
        tensor = tensors[name]
        return np.frombuffer(np.asarray(model.buffers[tensor.buffer].data).tobytes(), kind).reshape(tensor.shape)

    conv, fc = p.by_output["relu"].weights, p.by_output["fc"].weights
    assert np.array_equal(content("conv.weight", np.int8), conv.q.transpose(0, 2, 3, 1))
    columns = fc.q.reshape(5, 6, 8, 8).transpose(0, 2, 3, 1).reshape(5, -1)
    assert np.array_equal(content("fc.weight", np.int8), columns)
    assert np.array_equal(content("fc.bias", np.int32), fc.bias)
    expected = np.float32(p.tensors["relu"].format.scale) * fc.scale
    assert np.array_equal(tensors["fc.bias"].quantization.scale, expected)
    assert tensors["fc.bias"].quantization.zeroPoint.tolist() == [0] * 5


def test_per_tensor_weights_carry_one_scale():
    _, _, _, tensors = parsed(written(program(network(), per_channel=False)))
    assert len(tensors["conv.weight"].quantization.scale) == 1


def test_constants_start_at_multiples_of_16():
    content = written(program(network()))
    model = schema.Model.GetRootAs(content)
    for i in range(model.BuffersLength()):
        data = model.Buffers(i)
        if not data.DataIsNone():
            start = data.DataAsNumpy().__array_interface__["data"][0] - np.frombuffer(content, np.uint8).ctypes.data
            assert start % model_file.ALIGNMENT == 0


def test_the_description_inside_is_small():
    model, _, _, _ = parsed(written(program(network())))
    (entry,) = model.metadata
    said = bytes(model.buffers[entry.buffer].data)
    assert json.loads(said)["preprocess"] == DESCRIPTION["preprocess"]
    assert len(said) < 300


def test_a_float_layer_at_the_border_makes_the_border_float():
    p = program(network(), left_float=("conv",))
    _, graph, kinds, tensors = parsed(written(p))
    assert kinds == ["CONV_2D", "RELU", "QUANTIZE", "RESHAPE", "FULLY_CONNECTED"] or kinds == [
        "CONV_2D", "RELU", "RESHAPE", "QUANTIZE", "FULLY_CONNECTED"]  # fmt: skip
    assert graph.tensors[graph.inputs[0]].type == schema.TensorType.FLOAT32
    assert tensors["conv.weight"].type == schema.TensorType.FLOAT32
    assert TARGET.can(p.by_output["conv"], p).container == "float32"


CASES = {
    "8 bits": {"built": network()},
    "4 bits": {"built": network(), "bits": 4},
    "2 bits per tensor": {"built": network(), "bits": 2, "per_channel": False},
    "float layer": {"built": network(), "left_float": ("fc",)},
    "dilated": {"built": network(dilation=2)},
    "pooled": {"built": network(plain.MaxPool((2, 2), (2, 2), (0,) * 4), plain.GlobalAveragePool())},
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_holds_what_can_said(case):
    p = program(**CASES[case])
    model, _, kinds, tensors = parsed(written(p))
    for operation in p.operations:
        answer = TARGET.can(operation, p)
        assert isinstance(answer, Stored)
        if operation.kind not in ("conv", "linear"):
            assert answer.bytes == 0
            continue
        layer = operation.nodes[0]
        kernel, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        types = schema.TensorType
        stored = {"int4": types.INT4, "int8": types.INT8, "float32": types.FLOAT32}
        assert kernel.type == stored[answer.container]
        scales = 4 * len(operation.weights.scale) if operation.weights is not None else 0  # INT4 has one a channel
        assert answer.bytes == sum(len(model.buffers[t.buffer].data) for t in (kernel, bias)) + scales
        assert answer.kernel.split()[-1] in kinds
        assert answer.kernel.startswith("integer" if operation.integer else "float")


def test_fewer_bits_are_noted_with_their_bytes():
    p = program(network(), bits=4)
    size = p.by_output["relu"].weights.q.size
    assert f"{size // 2:,} bytes more" in TARGET.can(p.by_output["relu"], p).note
    assert TARGET.can(p.by_output["fc"], p).note == ""  # FULLY_CONNECTED takes INT4
    three = program(network(), bits=3)
    size = three.by_output["fc"].weights.q.size
    assert f"stored as int4, {size // 8:,} bytes more" in TARGET.can(three.by_output["fc"], three).note
    eight = program(network())
    assert TARGET.can(eight.by_output["fc"], eight).note == ""


def test_reading_back_notices_an_int4_weight():
    p = program(network(), bits=4)
    content = written(p)
    assert TARGET.differences(content, p, {}) == []
    model, _, _, tensors = parsed(content)
    whole = bytearray(content)
    place = content.index(bytes(bytearray(model.buffers[tensors["fc.weight"].buffer].data)))
    whole[place] ^= 1
    assert "fc has other weights in the file" in TARGET.differences(bytes(whole), p, {})


REFUSED = {
    "max pooling with dilation": plain.MaxPool((2, 2), (1, 1), (0,) * 4, dilation=(2, 2)),
    "repeats an edge once": plain.Pad((0, 0, 2, 0, 0, 0, 0, 0), "edge", 0.0),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_can_refuses_is_not_written(reason):
    p = program(network(REFUSED[reason]))
    answer = TARGET.can(p.by_output["more0"], p)
    assert isinstance(answer, Refusal)
    assert reason in answer.reason
    with pytest.raises(Refused, match=r"more0: .*LiteRT"):
        written(p)


def test_differences_name_what_was_changed():
    p = program(network())
    content = written(p)
    assert TARGET.differences(content, p, {}) == []
    other = program(network(), bits=7)
    said = " ".join(TARGET.differences(content, other, {}))
    assert "conv has other weight scales" in said
    assert "fc has other weights" in said
    mixed = program(network(), left_float=("fc",))
    assert "fc is not stored in float32" in " ".join(TARGET.differences(content, mixed, {}))
