"""Convolutions and linear layers: integers against both runtimes and against plain int64 arithmetic."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from studio.core.encoding import Dense, Grid, Sparse
from studio.lowering import execute, lower
from studio.lowering.integers import make
from studio.lowering.program import IntegerWeights, TensorFormat
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input, Linear
from studio.network.operators_plain import Clip, Relu

CASES = {
    "3x3": {"size": (8, 6, 3, 3), "pads": (1, 1, 1, 1)},
    "stride 2": {"size": (8, 6, 3, 3), "stride": (2, 2), "pads": (1, 1, 1, 1)},
    "1x1": {"size": (16, 12, 1, 1)},
    "dilated": {"size": (4, 6, 3, 3), "dilation": (2, 2), "pads": (2, 2, 2, 2)},
    "asymmetric": {"size": (8, 6, 5, 3), "pads": (2, 0, 1, 2)},
    "grouped": {"size": (8, 3, 3, 3), "groups": 2},
    "depthwise": {"size": (12, 1, 3, 3), "groups": 12, "pads": (1, 1, 1, 1)},
}


def conv_network(random, size, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1, after=None):
    weight = torch.from_numpy(random.normal(0, 1, size).astype(np.float32))
    bias = torch.from_numpy(random.normal(0, 3, size[0]).astype(np.float32))
    shape = (1, size[1] * groups, 12, 12)
    nodes = [
        Node("x", "x", (), Input(shape)),
        Node("conv", "conv", ("x",), Conv(weight, bias, stride, pads, dilation, groups)),
    ]
    if after is not None:
        nodes.append(Node("act", "act", ("conv",), after))
    return Network("one", nodes, [nodes[-1].name])


def grid(operator, random, per_channel=True):
    """Random integers with random scales."""
    channels = len(operator.weight)
    q = random.integers(-127, 128, tuple(operator.weight.shape)).astype(np.int8)
    scale = np.exp(random.normal(-5, 0.5, channels if per_channel else 1)).astype(np.float32)
    return Grid(q, scale, 0 if per_channel else None, 8)


def lowered(network, encoding, random, output=None):
    low, high = sorted(random.normal(0, 4, 2))
    ranges = {"x": (float(min(low, 0)), float(max(high, 0.5)))}
    name = network.nodes[1].name
    ranges |= {node.name: output or (-9.0, 11.0) for node in network.nodes[1:]}
    return lower(network, {name: encoding}, ranges, {})


def integers_of(program, random, samples=2):
    shape = (samples, *program.tensors[program.operations[0].output].shape[1:])
    return random.integers(-128, 128, shape).astype(np.int8)


def in_onnx(runtimes, operation, x):
    source = operation.input_formats[0]
    graph = runtimes.Onnx()
    inputs = [graph.input(x.shape, source), *graph.weights(operation.weights, source)]
    s = operation.settings
    if operation.kind == "linear":
        return graph.run(graph.node("Gemm", inputs, "op", transB=1), operation.output_format, [x])
    y = graph.node(
        "Conv", inputs, "op", strides=s["stride"], pads=s["pads"], dilations=s["dilation"], group=s["groups"]
    )
    return graph.run(y, operation.output_format, [x])


def in_tflite(runtimes, operation, x, shape):
    """Padding by hand with the zero point, then VALID."""
    source, w, s = operation.input_formats[0], operation.weights, operation.settings
    graph = runtimes.Tflite()
    bias_scale = np.float32(source.scale) * w.scale
    if operation.kind == "linear":
        inputs = [graph.input(x.shape, source), graph.constant(w.q, w.scale), graph.constant(w.bias, bias_scale)]
        y = graph.tensor((len(x), shape[1]), form=operation.output_format)
        graph.operator("FULLY_CONNECTED", inputs, y, ("FullyConnectedOptions", {}), version=12)
        return graph.run(y, [x])
    top, left, bottom, right = s["pads"]
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    x = np.pad(x, around, constant_values=source.zero_point)
    depthwise = w.q.shape[1] == 1 and s["groups"] > 1
    q = w.q.transpose(1, 2, 3, 0) if depthwise else w.q.transpose(0, 2, 3, 1)
    inputs = [graph.input(runtimes.last(x).shape, source), graph.constant(q, w.scale, 3 if depthwise else 0),
              graph.constant(w.bias, bias_scale)]  # fmt: skip
    y = graph.tensor((len(x), *shape[2:], shape[1]), form=operation.output_format)
    fields = {"strideH": s["stride"][0], "strideW": s["stride"][1], "padding": 1,
              "dilationHFactor": s["dilation"][0], "dilationWFactor": s["dilation"][1]}  # fmt: skip
    code, options = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
    graph.operator(code, inputs, y, (options, fields | ({"depthMultiplier": 1} if depthwise else {})), version=6)
    return runtimes.first(graph.run(y, [runtimes.last(x)]))


@pytest.mark.parametrize("case", CASES)
def test_convolutions_equal_both_runtimes(case, random, runtimes):
    for per_channel in (True, False):
        network = conv_network(random, **CASES[case])
        program = lowered(network, grid(network.nodes[1].operator, random, per_channel), random)
        operation = program.by_output["conv"]
        x = integers_of(program, random)
        ours = execute.run(operation, [torch.from_numpy(x)]).numpy()
        assert ours.dtype == np.int8
        assert len(np.unique(ours)) > 50
        assert (ours == in_onnx(runtimes, operation, x)).all()
        assert (ours == in_tflite(runtimes, operation, x, ours.shape)).all()


def test_linear_equals_both_runtimes(random, runtimes):
    for features in (1, 40, 700):
        operator = Linear(torch.zeros(10, features), torch.from_numpy(random.normal(0, 9, 10).astype(np.float32)))
        nodes = [Node("x", "x", (), Input((1, features))), Node("fc", "fc", ("x",), operator)]
        program = lowered(Network("one", nodes, ["fc"]), grid(operator, random), random)
        operation = program.by_output["fc"]
        x = integers_of(program, random, 9)
        ours = execute.run(operation, [torch.from_numpy(x)]).numpy()
        assert (ours == in_onnx(runtimes, operation, x)).all()
        assert (ours == in_tflite(runtimes, operation, x, ours.shape)).all()


def test_a_channel_of_zeros_and_a_raised_scale_equal_both_runtimes(random, runtimes):
    network = conv_network(random, (4, 6, 3, 3))
    whole = grid(network.nodes[1].operator, random)
    network.nodes[1].operator.bias.copy_(torch.tensor([0.0, 2.5, -3.0, 1.0]))
    q, scale = whole.q.copy(), whole.scale.copy()
    q[:2] = 0
    scale[:2] = scale.max() * 2.0**-23
    program = lowered(network, Grid(q, scale, 0, 8), random)
    operation = program.by_output["conv"]
    assert operation.weights.scale[0] == scale[0]
    assert operation.weights.scale[1] > scale[1]
    x = integers_of(program, random)
    ours = execute.run(operation, [torch.from_numpy(x)]).numpy()
    form = operation.output_format
    assert (ours[:, 0] == form.zero_point).all()
    assert (np.abs((ours[:, 1] - form.zero_point) * form.scale - 2.5) <= form.scale / 2).all()
    assert (ours == in_onnx(runtimes, operation, x)).all()
    assert (ours == in_tflite(runtimes, operation, x, ours.shape)).all()


def by_hand(operation, x):
    """Requantization on int64 sums, value by value in numpy."""
    w, s = operation.weights, operation.settings
    source, target = operation.input_formats[0], operation.output_format
    centred = torch.from_numpy(x.astype(np.int64) - source.zero_point)
    top, left, bottom, right = s["pads"]
    padded = torch.nn.functional.pad(centred, (left, right, top, bottom)).double()
    sums = torch.nn.functional.conv2d(
        padded, torch.from_numpy(w.q).double(), None, s["stride"], 0, s["dilation"], s["groups"]
    )
    total = sums.numpy().astype(np.int64) + w.bias.astype(np.int64)[None, :, None, None]
    scaled = total.astype(np.int32).astype(np.float32) * w.multiplier[None, :, None, None]
    return np.clip(np.rint(scaled) + target.zero_point, *operation.clamp).astype(np.int8)


@pytest.mark.parametrize("samples", [1, 3, 50])
@pytest.mark.parametrize("channels", [6, 64, 600])
def test_sums_are_exact_up_to_the_widest_layers(samples, channels, random):
    # 600 channels of 3x3: 255 * sum|w| is far above 2^24.
    samples = min(samples, 2) if channels == 600 else samples
    network = conv_network(random, (5, channels, 3, 3), pads=(1, 1, 1, 1))
    encoding = Grid(np.full((5, channels, 3, 3), 127, np.int8), np.full(5, 1e-4, np.float32), 0, 8)
    program = lowered(network, encoding, random, output=(-300.0, 400.0))
    operation = program.by_output["conv"]
    x = integers_of(program, random, samples)
    x[0] = 127
    assert (execute.run(operation, [torch.from_numpy(x)]).numpy() == by_hand(operation, x)).all()


def test_a_bias_between_float32_numbers_is_added_exactly(random):
    # 2^25 + 3 - 1 lies between the float32 numbers 2^25 and 2^25 + 4 and rounds to the even one; the bias
    # rounded first would give the other. 2^25 * 100.5 * 2^-25 is a half and goes to 100.
    network = conv_network(random, (1, 1, 1, 1))
    operation = lowered(network, grid(network.nodes[1].operator, random), random).by_output["conv"]
    weights = IntegerWeights(
        np.int8([[[[1]]]]), np.float32([1]), np.int32([2**25 + 3]), np.float32([100.5 * 2**-25]), 8, False
    )
    zero = TensorFormat(1.0, 0)
    operation = replace(operation, weights=weights, input_formats=(zero,), output_format=zero)
    x = np.int8([[[[-1, 0]]]])
    assert execute.run(operation, [torch.from_numpy(x)]).tolist() == [[[[100, 101]]]]
    assert (execute.run(operation, [torch.from_numpy(x)]).numpy() == by_hand(operation, x)).all()


def test_a_large_bias_raises_the_scale_of_its_channel_only():
    encoding = Grid(np.int8([[100, -7], [100, -7]]), np.float32([1e-6, 1e-6]), 0, 8)
    source, target = TensorFormat(1e-3, 0), TensorFormat(1.0, 0)
    made = make(encoding, np.float32([1.0, 10.0]), source, target)
    # 10 / (1e-3 * 1e-6) = 10^10 does not fit: the scale becomes 10 / (1e-3 * 2^30) = 9.3e-6.
    assert made.scale[0] == np.float32(1e-6)
    assert made.scale[1] == pytest.approx(10 / (1e-3 * 2**30), rel=1e-5)
    assert (np.abs(made.bias.astype(np.int64)) <= 2**30).all()
    assert made.q.tolist() == [[100, -7], [11, -1]]
    assert made.bias[0] == pytest.approx(10**9, rel=1e-6)


@pytest.mark.parametrize(
    ("after", "bounds"), [(Relu(), (0, math.inf)), (Clip(0.0, 6.0), (0, 6)), (Clip(-1, 1), (-1, 1))]
)
def test_a_fused_activation_is_the_same_as_the_activation_behind(after, bounds, random):
    network = conv_network(random, (8, 6, 3, 3), after=after)
    encoding = grid(network.nodes[1].operator, random)
    program = lowered(network, encoding, random)
    operation = program.by_output["act"]
    assert operation.nodes == ("conv", "act")
    assert operation.bounds == bounds
    x = torch.from_numpy(integers_of(program, random))
    form = operation.output_format
    got = (execute.run(operation, [x]).numpy().astype(np.float32) - form.zero_point) * np.float32(form.scale)
    assert got.min() >= bounds[0]
    assert got.max() <= bounds[1] + form.scale / 2
    assert got.max() > bounds[0] + 0.5


def test_a_mask_sets_integers_to_zero_and_changes_nothing_else(random):
    network = conv_network(random, (8, 6, 3, 3))
    dense = grid(network.nodes[1].operator, random)
    mask = random.random(dense.q.shape) < 0.5
    seed = np.random.default_rng(1)
    sparse = lowered(network, Sparse(mask, dense), seed).by_output["conv"].weights
    whole = lowered(network, dense, np.random.default_rng(1)).by_output["conv"].weights
    assert (sparse.q == np.where(mask, whole.q, 0)).all()
    assert (sparse.multiplier == whole.multiplier).all()
    assert (sparse.bias == whole.bias).all()


def test_other_weights_are_never_put_into_the_shared_operator(monkeypatch):
    """Threads share operators: one that reads the network's own weights must not see another's compressed ones."""
    network = conv_network(np.random.default_rng(0), (4, 2, 3, 3), pads=(1, 1, 1, 1))
    operator = network.by_name["conv"].operator
    before, seen = operator.weight, []
    encodings = {"conv": Dense(2 * before.detach().numpy())}
    program = lower(network, encodings, {})
    real = functional.conv2d

    def spy(*arguments):
        seen.append(operator.weight is before and operator.state_dict()["weight"].data_ptr() == before.data_ptr())
        return real(*arguments)

    monkeypatch.setattr(functional, "conv2d", spy)
    x = torch.randn(3, 2, 12, 12)
    found = execute.run_program(program, x)["conv"]
    assert seen == [True]
    expected = real(x, 2 * before, operator.bias, padding=1)
    assert torch.allclose(found, expected, atol=1e-5)
