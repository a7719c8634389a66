"""Every operator kind written as .tflite and run in LiteRT, against the program executed in torch."""

import math

import numpy as np
import pytest
import torch

from studio.export.targets.tflite import TARGET
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Node
from tests.export.built import Built, assert_equal, lowered, run


def convolution(out=8, shape=(4, 9, 10), **settings):
    b = Built(*shape)
    b.conv(out, **settings)
    return b


CONVOLUTIONS = {
    "same": {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "stride 2, pads of its own": {"kernel": (3, 3), "pads": (1, 1, 1, 1), "stride": (2, 2)},
    "stride 2, pads as SAME": {"kernel": (3, 3), "pads": (1, 0, 1, 1), "stride": (2, 2)},
    "valid": {"kernel": (3, 3)},
    "1x1, stride 2": {"stride": (2, 2)},
    "oblong": {"kernel": (5, 2), "pads": (2, 0, 2, 1), "stride": (1, 2)},
    "dilated": {"kernel": (3, 3), "pads": (2, 2, 2, 2), "dilation": (2, 2)},
    "grouped": {"kernel": (3, 3), "pads": (1, 1, 1, 1), "groups": 2},
    "depthwise": {"kernel": (3, 3), "pads": (1, 1, 1, 1), "groups": 4, "out": 4},
    "depthwise, stride 2": {"kernel": (3, 3), "pads": (1, 1, 1, 1), "stride": (2, 2), "groups": 4, "out": 4},
    "depthwise, two filters a channel": {"kernel": (3, 3), "groups": 4, "out": 8},
    "no bias": {"kernel": (3, 3), "bias": False},
    "one row": {"kernel": (1, 10)},
    "1d": {"kernel": (3,), "pads": (1, 1), "shape": (4, 17)},
    "1d, strided and dilated": {"kernel": (3,), "stride": (2,), "dilation": (2,), "pads": (0, 1), "shape": (4, 17)},
    "1d, depthwise": {"kernel": (3,), "pads": (1, 1), "groups": 4, "out": 4, "shape": (4, 17)},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_are_bit_equal(case, tmp_path):
    assert_equal(convolution(**CONVOLUTIONS[case]).network(), tmp_path)


ACTIVATIONS = [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (0.0, 0.7), (-0.3, math.inf), (-math.inf, 0.4)]


@pytest.mark.parametrize("bounds", ACTIVATIONS)
@pytest.mark.parametrize("before", ["conv", "linear", "add"])
def test_fused_activations_clamp_exactly(before, bounds, tmp_path):
    b = Built(4, 6, 6)
    first = b.conv(8, kernel=(3, 3))
    if before == "add":
        b.add(plain.Add(), first, b.conv(8, "x", kernel=(3, 3)))
    elif before == "linear":
        b.add(plain.Reshape((8 * 16,)))
        b.linear(8 * 16, 5)
    b.add(plain.Relu() if bounds == (0.0, math.inf) else plain.Clip(*bounds))
    assert_equal(b.network(), tmp_path)


@pytest.mark.parametrize("bounds", ACTIVATIONS)
def test_activations_alone_clamp_exactly(bounds, tmp_path):
    b = Built(4, 6, 6)
    first = b.conv(4)
    second = b.add(plain.MaxPool((2, 2), (2, 2), (0,) * 4))
    third = b.add(plain.Relu() if bounds == (0.0, math.inf) else plain.Clip(*bounds), second)
    assert_equal(b.network(first, third), tmp_path, views=1)


def after_conv(*operators, shape=(4, 9, 10), out=6, kernel=(3, 3)):
    b = Built(*shape)
    b.conv(out, kernel=kernel)
    for operator in operators:
        b.add(operator)
    return b.network()


def two_branches(join, *more):
    b = Built(4, 9, 10)
    first, second = b.conv(6, kernel=(3, 3)), b.conv(6, "x", kernel=(3, 3))
    b.add(join, first, second)
    for operator in more:
        b.add(operator)
    return b.network()


def squeeze_and_excite():
    b = Built(6, 8, 8)
    main = b.conv(6, kernel=(3, 3), pads=(1, 1, 1, 1))
    b.add(plain.GlobalAveragePool())
    b.conv(6)
    gate = b.add(plain.Sigmoid())
    b.add(plain.Mul(), main, gate)
    return b.network()


def broadcast_add():
    b = Built(6, 8, 8)
    main = b.conv(6, kernel=(3, 3), pads=(1, 1, 1, 1))
    b.add(plain.GlobalAveragePool())
    b.add(plain.Add(), main, b.conv(6))
    return b.network()


def flattened(*more):
    b = Built(3, 6, 6)
    b.conv(5, kernel=(3, 3))
    b.add(plain.Reshape((5 * 4 * 4,)))
    for operator in more:
        b.add(operator)
    b.linear(80, 7)
    return b.network()


def flattened_and_joined():
    """The flattened values of two branches, one behind the other: their order must be the program's."""
    b = Built(3, 6, 6)
    parts = [b.add(plain.Reshape((n * 16,)), b.conv(n, "x", kernel=(3, 3))) for n in (5, 2)]
    b.add(plain.Concat(1), *parts)
    b.linear(112, 7)
    return b.network()


def unflattened():
    b = Built(12)
    b.linear(12, 4 * 5 * 5)
    b.add(plain.Reshape((4, 5, 5)))
    b.conv(3, kernel=(3, 3), into=4)
    return b.network()


def several_outputs():
    b = Built(4, 8, 8)
    first = b.conv(6, kernel=(3, 3))
    turned = b.add(plain.Transpose((0, 2, 3, 1)))
    rows = b.add(plain.Reshape((36, 6)))
    return b.network(first, turned, rows, b.add(plain.GlobalAveragePool(), first))


def times_itself():
    """0..0.8 squared, in one format with 0..1.28: the largest square is 127.49998 steps."""
    b = Built(4, 8, 8)
    b.conv(6, kernel=(3, 3))
    bounded = b.add(plain.Clip(0.0, 0.8))
    b.conv(6, "x", kernel=(3, 3))
    other = b.add(plain.Clip(0.0, 1.28))
    b.add(plain.Concat(1), b.add(plain.Mul(), bounded, bounded), other)
    return b.network()


def several_views():
    """One tensor, 6 x 6 x 6, read in three orders of its axes."""
    b = Built(4, 8, 8)
    first = b.conv(6, kernel=(3, 3))
    views = [b.add(plain.Transpose(order), first) for order in ((0, 2, 3, 1), (0, 3, 1, 2))]
    b.add(plain.Add(), b.add(plain.Add(), first, views[0]), views[1])
    return b.network()


def channels_last_source():
    b = Built(9, 10, 3)
    b.add(plain.Transpose((0, 3, 1, 2)))
    b.conv(4, kernel=(3, 3), into=3)
    return b.network()


SHUFFLE = (plain.Reshape((2, 3, 7, 8)), plain.Transpose((0, 2, 1, 3, 4)), plain.Reshape((6, 7, 8)))
OTHERS = {
    "max pool": (after_conv(plain.MaxPool((2, 2), (2, 2), (0,) * 4)), 0),
    "max pool, pads of its own": (after_conv(plain.MaxPool((3, 3), (2, 2), (1,) * 4)), 0),
    "max pool, last part window": (after_conv(plain.MaxPool((3, 3), (2, 2), (0,) * 4, ceil=True)), 0),
    "max pool, 1d": (after_conv(plain.MaxPool((3,), (2,), (1, 1)), shape=(4, 17), kernel=(3,)), 0),
    "average pool": (after_conv(plain.AveragePool((3, 3), (2, 2), (0,) * 4)), 0),
    "average pool as SAME": (after_conv(plain.AveragePool((3, 3), (1, 1), (1,) * 4)), 0),
    "average pool in parts": (after_conv(plain.AveragePool((3, 3), (2, 2), (1,) * 4)), 0),
    "average pool in parts, 1d": (
        after_conv(plain.AveragePool((4,), (3,), (1, 2)), shape=(4, 17), kernel=(3,)), 0),
    "average pool, pads count, last part window": (
        after_conv(plain.AveragePool((3, 3), (2, 2), (1, 0) * 2, ceil=True, count_pads=True)), 0),
    "average pool, pads count": (after_conv(plain.AveragePool((3, 3), (2, 2), (1,) * 4, count_pads=True)), 0),
    "global average pool": (after_conv(plain.GlobalAveragePool()), 0),
    "global average pool, 1d": (after_conv(plain.GlobalAveragePool(), shape=(4, 17), kernel=(3,)), 0),
    "mean without axes": (after_conv(plain.ReduceMean((2, 3), False)), 0),
    "mean by pooling": (after_conv(plain.AveragePool((7, 8), (1, 1), (0,) * 4)), 0),
    "concat": (two_branches(plain.Concat(1)), 0),
    "concat of rows": (two_branches(plain.Concat(2)), 0),
    "add": (two_branches(plain.Add()), 0),
    "sub": (two_branches(plain.Sub()), 0),
    "mul": (two_branches(plain.Mul()), 0),
    "add, broadcast": (broadcast_add(), 0),
    "squeeze and excite": (squeeze_and_excite(), 0),
    "slice": (after_conv(plain.Slice((1, 3), (1, 2), (5, 7), (1, 1))), 0),
    "slice with steps": (after_conv(plain.Slice((2, 3), (0, 7), (7, -1), (2, -1))), 0),
    "pad": (after_conv(plain.Pad((0, 1, 2, 0, 0, 2, 0, 1), "constant", 0.0)), 0),
    "resize, nearest": (after_conv(plain.Resize((14, 16), "nearest", "asymmetric", "floor", (2.0, 2.0))), 0),
    "resize, nearest as LiteRT never rounds": (
        after_conv(plain.Resize((11, 13), "nearest", "asymmetric", "ceil", (11 / 7, 13 / 8))), 0),
    "resize, linear": (after_conv(plain.Resize((14, 16), "linear", "half_pixel", "", (2.0, 2.0))), 0),
    "resize, linear, corners": (after_conv(plain.Resize((13, 15), "linear", "align_corners", "", (13 / 7, 15 / 8))), 0),
    "gather": (after_conv(plain.Gather(torch.tensor([5, 0, 3]), 1)), 0),
    "gather of one": (after_conv(plain.Gather(torch.tensor(2), 1)), 0),
    "expand": (after_conv(plain.GlobalAveragePool(), plain.Expand((6, 4, 5))), 0),
    "transpose": (after_conv(plain.Transpose((0, 3, 1, 2)), plain.MaxPool((2, 2), (2, 2), (0,) * 4)), 1),
    "channel shuffle": (after_conv(*SHUFFLE, plain.MaxPool((2, 2), (2, 2), (0,) * 4)), 2),
    "flatten": (flattened(), 0),
    "flatten, then values only": (flattened(plain.Relu(), plain.Sigmoid()), 1),
    "flatten two, concat": (flattened_and_joined(), 0),
    "picture from a row": (unflattened(), 0),
    "sigmoid": (after_conv(plain.Sigmoid()), 0),
    "tanh": (after_conv(plain.Tanh()), 0),
    "leaky relu": (after_conv(plain.LeakyRelu(0.1)), 0),
    "hard swish": (after_conv(plain.HardSwish()), 0),
    "softmax of channels": (after_conv(plain.Softmax(1)), 0),
    "softmax of a row": (flattened(plain.Softmax(1)), 1),
    "several outputs": (several_outputs(), 1),
    "several views": (several_views(), 0),
    "times itself": (times_itself(), 0),
    "channels last in the source": (channels_last_source(), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_operators_are_bit_equal(case, tmp_path):
    network, views = OTHERS[case]
    assert_equal(network, tmp_path, views)


def prelu():
    return plain.Prelu(torch.tensor([0.1, 0.2, 0.3, -0.1, 0.0, 1.0]).reshape(6, 1, 1))


def turned_convolution(**settings):
    made = torch.Generator().manual_seed(3)
    ready = {"stride": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 1), "dilation": (1, 1), "groups": 1}
    weight = torch.randn((6, 5, 3, 3), generator=made)
    return op.ConvTranspose(weight, torch.randn(5, generator=made), **{**ready, **settings})


def batch_norm():
    made = torch.Generator().manual_seed(4)
    a, b, c, d = (torch.rand(6, generator=made) + 0.5 for _ in range(4))
    return plain.Relu(), op.BatchNorm(a, b, c, d, 1e-5)


def product_of_rows():
    b = Built(3, 4, 5)
    first, second = b.conv(2), b.conv(2, "x")
    turned = b.add(plain.Transpose((0, 1, 3, 2)), second)
    b.add(op.MatMul(), first, turned)
    return b.network()


def constant_sum():
    b = Built(3, 4, 5)
    first = b.conv(2)
    b.nodes.append(Node("c", "c", (), op.Constant(b.random(1, 2, 4, 1))))
    b.add(plain.Add(), first, "c")
    return b.network()


FLOATS = {
    "prelu": after_conv(prelu()),
    "batch norm": after_conv(*batch_norm()),
    "hard sigmoid": after_conv(plain.HardSigmoid(0.2, 0.5)),
    "div": two_branches(plain.Div(), plain.Clip(-3.0, 3.0)),
    "transposed convolution": after_conv(turned_convolution()),
    "transposed convolution, cropped": after_conv(turned_convolution(pads=(1, 0, 0, 1), output_padding=(0, 0))),
    "mirrored edge": after_conv(plain.Pad((0, 0, 2, 1, 0, 0, 1, 2), "reflect", 0.0)),
    "repeated edge": after_conv(plain.Pad((0, 0, 1, 1, 0, 0, 1, 1), "edge", 0.0)),
    "padded with a value": after_conv(plain.Pad((0, 0, 1, 1, 0, 0, 1, 1), "constant", 2.5)),
    "mean of channels": after_conv(plain.ReduceMean((1,), True)),
    "matmul": product_of_rows(),
    "constant": constant_sum(),
}


@pytest.mark.parametrize("case", FLOATS)
def test_float_operators_between_integers(case, tmp_path):
    program, x = lowered(FLOATS[case])
    outputs, _, ours = run(program, x, tmp_path)
    assert any(not o.integer for o in program.operations if o.kind != "dequantize")
    for found, name in zip(outputs, program.outputs, strict=True):
        wanted = ours[name].numpy()
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_layers_left_in_float(tmp_path):
    """First and last layer float: float32 in and out, int8 between, weights in float32."""
    b = Built(3, 8, 8)
    names = [b.conv(4, kernel=(3, 3)), b.conv(6, into=4), b.conv(2, into=6, kernel=(3, 3))]
    program, x = lowered(b.network(), left_float=(names[0], names[2]))
    outputs, theirs, ours = run(program, x, tmp_path)
    assert theirs[names[1]].dtype == np.int8
    assert np.abs(theirs[names[1]].astype(int) - ours[names[1]].numpy()).max() <= 1
    wanted = ours[program.outputs[0]].numpy()
    assert np.abs(outputs[0] - wanted).max() <= 0.02 * np.abs(wanted).max()


def pointwise(into, shape=(5, 6), **settings):
    b = Built(into, *shape)
    b.conv(8, into=into, kernel=(1,) * len(shape), **settings)
    b.add(plain.Relu())
    return b.network()


FOURS = {
    "1x1": (lambda: pointwise(12), "int4"),
    "1x1, 1d": (lambda: pointwise(12, (7,)), "int4"),
    "1x1, many channels": (lambda: pointwise(130, (3, 3)), "int4"),
    "1x1, an odd number of inputs": (lambda: pointwise(11), "int8"),
    "1x1, stride 2": (lambda: pointwise(12, stride=(2, 2)), "int8"),
    "1x1, padded": (lambda: pointwise(12, pads=(1, 0, 0, 1)), "int8"),
    "1x1, groups": (lambda: pointwise(12, groups=2), "int8"),
    "3x3": (lambda: convolution(kernel=(3, 3)).network(), "int8"),
    "depthwise": (lambda: convolution(out=4, groups=4, kernel=(3, 3)).network(), "int8"),
}


@pytest.mark.parametrize("case", FOURS)
def test_four_bits_are_stored_as_int4_where_that_is_exact(case, tmp_path):
    made, container = FOURS[case]
    program, _ = lowered(made(), bits=4)
    said = TARGET.can(next(o for o in program.operations if o.weights is not None), program)
    assert said.container == container
    assert said.kernel.endswith("FULLY_CONNECTED") == (container == "int4")
    assert_equal(made(), tmp_path, bits=4)


@pytest.mark.parametrize("inputs", [64, 63, 1000])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_linear_layers_of_few_bits(inputs, bits, tmp_path):
    b = Built(inputs)
    b.linear(inputs, 10)
    assert_equal(b.network(), tmp_path, bits=bits)
    program, _ = lowered(b.network(), bits=bits)
    said = TARGET.can(next(o for o in program.operations if o.weights is not None), program)
    assert said.container == ("int8" if inputs % 2 else "int4")
