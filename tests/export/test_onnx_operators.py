"""Every operator kind written as ONNX: what `can` says is what lies in the file and what ONNX Runtime runs."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from studio.core.encoding import Coded, Grid, Sparse
from studio.export._onnx.names import names_in_file
from studio.export.targets.onnx import TARGET
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.runtimes.onnxruntime import OnnxRunner, kernels

SAMPLES = 3
ONES, NONE = (1, 1), (0,) * 4


def random(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator)


def conv(into, out, kernel=(3, 3), bias=True, groups=1, **settings):
    weight = random(out, into // groups, *kernel) / math.sqrt(into // groups * math.prod(kernel))
    rank = len(kernel)
    ready = {"stride": (1,) * rank, "pads": (0,) * 2 * rank, "dilation": (1,) * rank, "groups": groups, **settings}
    return op.Conv(weight, random(out) if bias else None, **ready)


def linear(into, out):
    return op.Linear(random(out, into) / math.sqrt(into), random(out))


def network(shape, *operators):
    """Operators one behind the other; (name, operator, inputs) where it is not the one before."""
    nodes = [Node("x", "x", (), op.Input((1, *shape)))]
    for i, entry in enumerate(operators):
        name, operator, inputs = entry if isinstance(entry, tuple) else (f"n{i}", entry, (nodes[-1].name,))
        nodes.append(Node(name, name, inputs, operator))
    return Network("built", nodes, [nodes[-1].name])


def grid(weight, bits=8, per_channel=True):
    weight, top = weight.numpy(), 2 ** (bits - 1) - 1
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = ((largest if per_channel else largest.max(keepdims=True)) / top).astype(np.float32)
    q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).clip(-top, top).astype(np.int8)
    return Grid(q, scale, 0 if per_channel else None, bits)


def lowered(made, encodings=None, activation_bits=None):
    """Program with the ranges of the samples, and the samples; all layers int8 where nothing else is said."""
    x = torch.randn((SAMPLES, *made.input_shape[1:]), generator=torch.Generator().manual_seed(7))
    ranges = {}
    made.run((x,), visit=lambda n, v: ranges.__setitem__(n.name, (min(0, float(v.min())), max(0, float(v.max())))))
    if encodings is None:
        encodings = {n.name: grid(n.operator.weight) for n in made.nodes if n.kind in ("conv", "linear")}
    return lower(made, encodings, ranges, activation_bits or {}), x


class Written:
    """A program's file, and the graph that ONNX Runtime makes of it."""

    def __init__(self, program, folder, weights="int8"):
        self.program, self.options, self.path = program, {"onnx_weights": weights}, folder / "model.onnx"
        self.content = TARGET.write(program, {}, self.options)
        self.path.write_bytes(self.content)
        self.model = onnx.load_from_string(self.content)
        names = {new: old for old, new in names_in_file(program).items()}
        self.running = {names.get(output, output): kind for kind, output in kernels(self.content)}
        self.arrays = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    def can(self, operation):
        return TARGET.can(operation, self.program, self.options)

    def kernel(self, operation):
        """Type of the operator that writes an operation's tensor; its own where a fused activation follows."""
        if operation.integer and operation.clamp != (-128, 127) and operation.kind not in ("relu", "clip"):
            assert self.running[operation.output] == "Clip"
            return self.running[f"{operation.output}:q"]
        return self.running.get(operation.output)

    def assert_as_said(self):
        assert TARGET.differences(self.content, self.program, self.options) == []
        for operation in self.program.operations:
            said, found = self.can(operation), self.kernel(operation)
            if said.kernel.startswith("integer kernel"):
                squeezed = operation.kind == "global_average_pool" and not operation.settings.get("keep", True)
                assert found == ("Reshape" if squeezed else said.kernel.removeprefix("integer kernel "))
            elif said.kernel == "moves the integers":
                assert found in ("Reshape", "Transpose", "Slice", "Resize", "Gather", "Expand", "Pad")
            elif said.kernel.endswith(" between conversions"):
                assert found == "QuantizeLinear"
            elif said.kernel.startswith("float kernel"):
                name = said.kernel.removeprefix("float kernel ").split(",")[0]
                fused = operation.kind in ("relu", "clip") and found.startswith("Fused")
                assert fused or {name, f"Fused{name}"} & set(self.running.values())
                assert "Q" not in (found or "")
            if operation.weights is not None or operation.weight is not None:
                assert self.arrays[f"{operation.nodes[0]}.weight"].dtype.name == said.container

    def assert_equal(self, x):
        """Integers equal bit for bit; outputs too."""
        names = [o.output for o in self.program.operations if self.program.tensors[o.output].format is not None]
        ours = execute.run_program(self.program, x, "onnx", keep=names)
        with OnnxRunner(self.path) as runner:
            outputs, theirs = runner.run(x.numpy()), runner.tensors(x.numpy(), names)
        assert list(theirs) == names
        for name, found in theirs.items():
            assert found.dtype == np.int8
            assert np.array_equal(found, ours[name].numpy()), name
        return [(found, ours[name].numpy()) for found, name in zip(outputs, self.program.outputs, strict=True)]


def check(made, folder, weights="int8", **lowering):
    program, x = lowered(made, **lowering)
    written = Written(program, folder, weights)
    written.assert_as_said()
    for found, ours in written.assert_equal(x):
        if all(o.integer for o in program.operations if o.kind != "dequantize"):
            assert np.array_equal(found, ours)
        else:
            assert found.shape == ours.shape
            assert np.abs(found - ours).max() <= 1e-5 * np.abs(ours).max()
    return written


def after(*operators):
    return network((4, 9, 10), conv(4, 6), *operators)


def two(join, *more):
    a, b = ("a", conv(4, 6), ("x",)), ("b", conv(4, 6, (3, 3), False), ("x",))
    return network((4, 9, 10), a, b, ("join", join, ("a", "b")), *more)


def squeeze_and_excite():
    main = ("main", conv(6, 6, pads=(1,) * 4), ("x",))
    gate = [plain.GlobalAveragePool(), conv(6, 6, ONES), ("gate", plain.Sigmoid(), ("n2",))]
    return network((6, 8, 8), main, *gate, ("out", plain.Mul(), ("main", "gate")))


INTEGER = {
    "conv": network((4, 9, 10), conv(4, 8, pads=(1, 0, 2, 1), stride=(2, 1))),
    "conv without bias": network((4, 9, 10), conv(4, 8, bias=False)),
    "depthwise": network((4, 9, 10), conv(4, 8, groups=4, pads=(1,) * 4)),
    "grouped, dilated": network((4, 9, 10), conv(4, 6, groups=2, dilation=(2, 2))),
    "conv 1d": network((4, 17), conv(4, 6, (3,), stride=(2,), pads=(0, 1))),
    "linear": network((30,), linear(30, 7)),
    "max pool": after(plain.MaxPool((3, 3), (2, 2), (1,) * 4)),
    "max pool, dilated, part window": after(plain.MaxPool((2, 2), (2, 2), NONE, True, (2, 1))),
    "average pool": after(plain.AveragePool((3, 3), (2, 2), (1,) * 4)),
    "average pool, pads count": after(plain.AveragePool((3, 3), (2, 2), (1,) * 4, count_pads=True)),
    "global average pool": after(plain.GlobalAveragePool()),
    "mean without axes": after(plain.ReduceMean((2, 3), False)),
    "add": two(plain.Add()),
    "sub": two(plain.Sub()),
    "mul": two(plain.Mul()),
    "concat": two(plain.Concat(1)),
    "concat and relu": two(plain.Concat(1), plain.Relu(), conv(12, 3, ONES)),
    "slice": after(plain.Slice((2, 3), (0, 7), (7, -1), (2, -1))),
    "pad": after(plain.Pad((0, 1, 2, 0, 0, 2, 0, 1), "constant", 0.0)),
    "resize, nearest": after(plain.Resize((14, 16), "nearest", "asymmetric", "floor", (2.0, 2.0))),
    "resize, linear": after(plain.Resize((14, 16), "linear", "half_pixel", "", (2.0, 2.0))),
    "gather": after(plain.Gather(torch.tensor([5, 0, 3]), 1)),
    "expand": after(plain.GlobalAveragePool(), plain.Expand((6, 4, 5))),
    "transpose": after(plain.Transpose((0, 3, 1, 2))),
    "reshape, linear": after(plain.Reshape((6 * 56,)), linear(6 * 56, 5)),
    "sigmoid": after(plain.Sigmoid()),
    "tanh": after(plain.Tanh()),
    "leaky relu": after(plain.LeakyRelu(0.1)),
    "hard swish": after(plain.HardSwish()),
    "softmax": after(plain.Reshape((6 * 56,)), linear(6 * 56, 5), plain.Softmax(1)),
    "squeeze and excite": squeeze_and_excite(),
}


@pytest.mark.parametrize("weights", ["int8", "uint8"])
@pytest.mark.parametrize("case", INTEGER)
def test_integer_operators_do_what_can_says(case, weights, tmp_path):
    written = check(INTEGER[case], tmp_path, weights)
    weighted = [o for o in written.program.operations if o.weights is not None]
    assert {written.can(o).container for o in weighted} == {weights}
    assert not [o.kind for o in written.program.operations if not o.integer and o.kind != "dequantize"]


@pytest.mark.parametrize(
    "bounds", [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (0.0, 0.7), (-0.3, math.inf), (-math.inf, 0.4)]
)
@pytest.mark.parametrize("before", ["conv", "linear", "add", "max_pool"])
def test_activations_clip_the_integers(before, bounds, tmp_path):
    activation = plain.Relu() if bounds == (0.0, math.inf) else plain.Clip(*bounds)
    made = {
        "conv": after(activation),
        "linear": network((30,), linear(30, 7), activation),
        "add": two(plain.Add(), activation),
        "max_pool": after(plain.MaxPool((2, 2), (2, 2), NONE), activation),
    }[before]
    check(made, tmp_path)


@pytest.mark.parametrize("both", [True, False])
def test_a_clip_is_written_only_where_the_range_does_not_imply_it(both, tmp_path):
    # A concat gives its inputs one range: it holds negative values only where one of them has no ReLU.
    a, b = ("a", conv(4, 6), ("x",)), ("b", conv(4, 6), ("x",))
    relus = [("ra", plain.Relu(), ("a",)), *([("rb", plain.Relu(), ("b",))] if both else [])]
    made = network((4, 9, 10), a, b, *relus, ("out", plain.Concat(1), ("ra", "rb" if both else "b")))
    written = check(made, tmp_path)
    clips = [node.output[0] for node in written.model.graph.node if node.op_type in ("Clip", "Relu")]
    assert clips == ([] if both else ["ra"])


def turned(**settings):
    ready = {"stride": (2, 2), "pads": (1,) * 4, "output_padding": ONES, "dilation": ONES, "groups": 1, **settings}
    return op.ConvTranspose(random(6, 5, 3, 3), random(5), **ready)


def product():
    a, b = ("a", conv(4, 6), ("x",)), ("b", conv(4, 6), ("x",))
    return network(
        (4, 9, 10), a, b, ("t", plain.Transpose((0, 1, 3, 2)), ("b",)), ("out", op.MatMul(), ("a", "t"))
    )  # fmt: skip


def constant_sum():
    constant = Node("c", "c", (), op.Constant(random(1, 6, 7, 1)))
    made = after()
    nodes = (*made.nodes, constant, Node("out", "out", ("n0", "c"), plain.Add()))
    return Network("built", nodes, ["out", "c"])


FLOAT = {
    "prelu": after(plain.Prelu(torch.tensor([0.1, 0.2, 0.3, -0.1, 0.0, 1.0]).reshape(6, 1, 1))),
    "batch norm": after(plain.Sigmoid(), op.BatchNorm(*(random(6).abs() + i for i in (1, 2, 3, 4)), 1e-5)),
    "hard sigmoid": after(plain.HardSigmoid(0.2, 0.5)),
    "div": two(plain.Div(), plain.Clip(-3.0, 3.0)),
    "transposed convolution": after(turned()),
    "pad, reflected": after(plain.Pad((0, 0, 2, 1, 0, 0, 1, 2), "reflect", 0.0)),
    "pad with a value": after(plain.Pad((0, 0, 1, 1, 0, 0, 1, 1), "constant", 2.5)),
    "mean of channels": after(plain.ReduceMean((1,), True)),
    "matmul": product(),
    "rows": network((5, 12), linear(12, 8), plain.Relu()),
    "constant": constant_sum(),
}


@pytest.mark.parametrize("case", FLOAT)
def test_float_operators_do_what_can_says(case, tmp_path):
    written = check(FLOAT[case], tmp_path)
    assert any("float" in written.can(o).kernel or "ToFloat" in written.can(o).kernel
               for o in written.program.operations)  # fmt: skip


MIDDLE = {
    "conv": network((3, 8, 8), conv(3, 6), conv(6, 6), conv(6, 4)),
    "conv, relu": network((3, 8, 8), conv(3, 6), conv(6, 6), plain.Relu(), conv(6, 4)),
    "linear": network((30,), linear(30, 20), linear(20, 20), linear(20, 5)),
}


@pytest.mark.parametrize("case", MIDDLE)
def test_a_layer_left_in_float_between_integers_stays_float(case, tmp_path):
    # ONNX Runtime rounds the weights of such a layer itself where nothing parts it from the next Q.
    made = MIDDLE[case]
    encodings = {n.name: grid(n.operator.weight) for n in made.nodes if n.kind in ("conv", "linear") and n.name != "n1"}
    written = check(made, tmp_path, encodings=encodings)
    assert written.program.float_layers == ("n1",)
    said = written.can(written.program.by_output["n1"])
    assert said.container == "float32"
    assert said.kernel in ("float kernel Conv", "float kernel Gemm")
    assert said.note == ""


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize("bits", [8, 4])
def test_weights_of_a_float_layer_are_stored_as_integers(kind, bits, tmp_path):
    made = MIDDLE[kind]
    encodings = {n.name: grid(n.operator.weight, bits) for n in made.nodes if n.kind in ("conv", "linear")}
    written = check(made, tmp_path, encodings=encodings, activation_bits={"n1": 32})
    operation = written.program.by_output["n1"]
    said = written.can(operation)
    assert not operation.integer
    assert said.container == ("int4" if bits == 4 else "int8")
    assert said.kernel.endswith(", weights dequantized at each run")
    assert said.note == ""
    again = written.arrays["n1.weight"].astype(np.float32) * encodings["n1"].scale.reshape(
        -1, *[1] * (operation.weight.ndim - 1)
    )
    assert np.array_equal(again, operation.weight)


def test_a_sum_left_in_float_stays_float(tmp_path):
    made = two(plain.Add(), ("n2", plain.MaxPool((2, 2), (2, 2), NONE), ("a",)), ("out", conv(6, 3, ONES), ("n2",)))
    made = Network("built", made.nodes, ["join", "out"])
    written = check(made, tmp_path, activation_bits={"join": 32})
    assert written.running["join"] == "Add"


@pytest.mark.parametrize("per_channel", [True, False])
def test_two_bits_are_stored_as_int4_with_what_that_costs(per_channel, tmp_path):
    made = after()
    encodings = {"n0": grid(made.by_name["n0"].operator.weight, 2, per_channel)}
    written = check(made, tmp_path, encodings=encodings)
    said = written.can(written.program.by_output["n0"])
    # 6 x 4 x 3 x 3 = 216 weights: 108 bytes instead of 54.
    assert said.note.split("; ")[0] == "2-bit weights are stored as int4, 54 bytes more than planned"
    scales = 6 if per_channel else 1
    # weights, one scale (4 bytes) and zero point (1) a scale, six biases and their scales
    assert said.bytes == 108 + scales * 5 + 6 * 4 + 6 * 4
    assert written.arrays["n0.weight"].dtype.name == "int4"


def test_a_code_that_is_not_stored_is_said_with_what_it_would_have_saved(tmp_path):
    made = after()
    weight = made.by_name["n0"].operator.weight.clone()
    weight[:, 1:] = 0.01 * weight[:, 1:].sign()  # most integers are two symbols
    whole = grid(weight)
    saved = len(whole.pack()) - len(Coded(whole).pack())
    assert saved > 40
    coded = check(made, tmp_path, encodings={"n0": Coded(whole)})
    note = coded.can(coded.program.by_output["n0"]).note
    assert note.split("; ")[0] == f"the Huffman code is not stored, {saved} bytes more than planned"
    plain_ = check(made, tmp_path, encodings={"n0": whole})
    assert "Huffman" not in plain_.can(plain_.program.by_output["n0"]).note


def test_zeros_are_stored_in_full_with_a_note(tmp_path):
    made = after()
    weight = made.by_name["n0"].operator.weight
    mask = np.arange(weight.numel()).reshape(weight.shape) % 2 == 0
    written = check(made, tmp_path, encodings={"n0": Sparse(mask, grid(weight))})
    note = written.can(written.program.by_output["n0"]).note
    assert note.endswith("zeros are stored in full: sparsity saves nothing here")
    assert (written.arrays["n0.weight"][~mask] == 0).all()


def test_a_channel_whose_bias_is_too_large_keeps_its_own_scale(tmp_path):
    # 3e6 / (s_in * s_w) leaves int32 at the layer's one scale: that channel gets another.
    made = after()
    operator = made.by_name["n0"].operator
    operator.bias.data = torch.tensor([3e6, 0.1, 0.2, 0.3, 0.4, 0.5])
    program, x = lowered(made, {"n0": grid(operator.weight * 1e-3, per_channel=False)})
    weights = program.by_output["n0"].weights
    assert len(np.unique(weights.scale)) == 2
    written = Written(program, tmp_path)
    written.assert_as_said()
    written.assert_equal(x)
