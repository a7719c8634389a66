"""Which operations are integer, which tensors share a format, where quantize and dequantize stand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studio.core.encoding import Dense, Grid, Sparse
from studio.lowering import blocks, cost, execute, lower, pairs
from studio.lowering.formats import choose, clamp
from studio.lowering.program import TensorFormat
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.network.operators import Constant, Conv, Input, Linear


def conv(name, source, into=4, out=4, kernel=3):
    pad = kernel // 2
    weight = torch.randn(out, into, kernel, kernel) / (into * kernel * kernel) ** 0.5
    return Node(name, name, (source,), Conv(weight, torch.randn(out), (1, 1), (pad,) * 4, (1, 1), 1))


def node(name, operator, *inputs):
    return Node(name, name, inputs, operator)


def network(*nodes, shape=(1, 4, 8, 8), outputs=None):
    torch.manual_seed(0)
    first = Node("x", "x", (), Input(shape))
    return Network("net", [first, *nodes], outputs or [nodes[-1].name])


def grids(net):
    found = {}
    for n in net.nodes:
        if n.kind in ("conv", "linear"):
            weight = n.operator.weight.numpy()
            scale = np.abs(weight).reshape(len(weight), -1).max(1) / np.float32(127)
            q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
            found[n.name] = Grid(q, scale, 0, 8)
    return found


def ranges(net, samples=16):
    torch.manual_seed(1)
    found = {}
    feed = [torch.randn(samples, *net.input_shape[1:])]
    net.run(feed, visit=lambda n, v: found.__setitem__(n.name, (float(v.min()), float(v.max()))))
    return found


def lowered(net, encodings=None, bits=None, **changed):
    return lower(net, grids(net) if encodings is None else encodings, {**ranges(net), **changed}, bits or {})


def kinds(program):
    return [f"{op.kind}{'' if op.integer else ' f'}" for op in program.operations]


RESIDUAL = (
    conv("a", "x"), node("ra", plain.Relu(), "a"), conv("b", "ra"), node("sum", plain.Add(), "b", "ra"),
    node("rs", plain.Relu(), "sum"), node("mean", plain.GlobalAveragePool(), "rs"),
    node("flat", plain.Reshape((4,)), "mean"), node("fc", Linear(torch.ones(3, 4), torch.zeros(3)), "flat"),
)  # fmt: skip


def test_a_residual_network_is_all_integer_with_one_conversion_at_each_end():
    program = lowered(network(*RESIDUAL))
    assert kinds(program) == [
        "quantize",
        "conv",
        "conv",
        "add",
        "global_average_pool",
        "reshape",
        "linear",
        "dequantize f",
    ]
    assert [op.nodes for op in program.operations[1:4]] == [("a", "ra"), ("b",), ("sum", "rs")]
    assert program.inputs == ("x",)
    assert program.by_output[program.outputs[0]].inputs == ("fc",)
    assert program.float_layers == ()
    assert not any(op.listed for op in program.operations)
    assert program.tensors["ra"].format.zero_point == -128
    assert program.tensors["mean"].format == program.tensors["flat"].format


def test_an_empty_plan_is_the_float_network_bit_for_bit():
    net = network(*RESIDUAL)
    program = lower(net, {}, {}, {})
    x = torch.randn(5, 4, 8, 8)
    assert torch.equal(execute.run_program(program, x)["fc"], net(x)[0])
    assert all(not op.integer for op in program.operations)
    assert program.outputs == ("fc",)


def test_a_layer_left_in_float_stands_between_dequantize_and_quantize():
    net = network(*RESIDUAL)
    encodings = {name: e for name, e in grids(net).items() if name != "b"}
    program = lowered(net, encodings)
    assert kinds(program)[1:5] == ["conv", "dequantize f", "conv f", "quantize"]
    assert program.float_layers == ("b",)
    found = execute.run_program(program, torch.randn(3, 4, 8, 8), keep=["b", "ra:float"])
    expected = net.by_name["b"].operator(found["ra:float"])
    assert torch.equal(found["b"], expected)


@pytest.mark.parametrize(
    ("bits", "floats"), [({"b": 32}, ("b",)), ({"ra": 32}, ("a", "b")), ({"x": 32}, ("a",)), ({"fc": 32}, ("fc",)),
                         ({"b": 8}, ())]
)  # fmt: skip
def test_explicit_32_bits_leave_writer_and_readers_in_float(bits, floats):
    assert lowered(network(*RESIDUAL), bits=bits).float_layers == floats


def test_a_mask_without_grid_is_float_with_zeros():
    net = network(conv("a", "x"))
    weight = net.by_name["a"].operator.weight.numpy()
    mask = np.random.default_rng(0).random(weight.shape) < 0.5
    program = lower(net, {"a": Sparse(mask, Dense(weight))}, {}, {})
    assert (program.by_output["a"].weight == np.where(mask, weight, 0)).all()
    x = torch.randn(2, 4, 8, 8)
    conv_only = torch.nn.functional.conv2d(
        x, torch.from_numpy(np.where(mask, weight, 0)), net.by_name["a"].operator.bias, padding=1
    )
    assert torch.equal(execute.run_program(program, x)["a"], conv_only)


def test_joined_tensors_carry_one_format_from_the_union_of_their_ranges():
    net = network(
        conv("a", "x"), conv("b", "x"), node("cat", plain.Concat(1), "a", "b"),
        node("pool", plain.MaxPool((2, 2), (2, 2), (0, 0, 0, 0)), "cat"), conv("c", "pool", 8),
    )  # fmt: skip
    program = lowered(net, a=(-1.0, 2.0), b=(-3.0, 0.5), cat=(-3.0, 2.0), pool=(-1.0, 2.0))
    shared = {program.tensors[name].format for name in ("a", "b", "cat", "pool")}
    assert shared == {choose(-3.0, 2.0)}
    x = torch.randn(3, 4, 8, 8)
    got = execute.run_program(program, x, keep=["a", "b", "cat", "pool"])
    assert torch.equal(got["cat"], torch.cat([got["a"], got["b"]], 1))
    assert torch.equal(got["pool"].float(), torch.nn.functional.max_pool2d(got["cat"].float(), 2))


def test_softmax_enters_a_concat_as_a_requantized_copy():
    net = network(
        conv("a", "x"), node("soft", plain.Softmax(1), "a"), node("cat", plain.Concat(1), "soft", "a"),
        node("same", plain.Reshape((4, 64)), "soft"), outputs=["cat", "same"],
    )  # fmt: skip
    program = lowered(net)
    assert program.tensors["soft"].format == TensorFormat(1 / 256, -128)
    assert program.tensors["same"].format == TensorFormat(1 / 256, -128)
    assert program.by_output["cat"].inputs == ("soft:requantized", "a")
    assert program.tensors["soft:requantized"].format == program.tensors["a"].format
    assert program.by_output["soft:requantized"].listed


def test_a_relu_with_other_readers_before_it_is_not_fused():
    net = network(conv("a", "x"), node("r", plain.Relu(), "a"), node("sum", plain.Add(), "a", "r"))
    program = lowered(net)
    assert kinds(program)[:4] == ["quantize", "conv", "relu", "add"]
    form = program.tensors["a"].format
    assert program.by_output["r"].clamp == (form.zero_point, 127)
    got = execute.run_program(program, torch.randn(2, 4, 8, 8), keep=["a", "r"])
    assert torch.equal(got["r"], got["a"].clamp(min=form.zero_point))


def test_padding_fills_in_the_zero_point_and_moves_stay_exact():
    net = network(
        conv("a", "x"), node("pad", plain.Pad((0, 0, 1, 0, 0, 2, 0, 1), "constant", 0.0), "a"),
        node("cut", plain.Slice((2, 3), (0, 1), (9, 9), (2, 3)), "pad"),
        node("turn", plain.Transpose((0, 2, 1, 3)), "cut"),
    )  # fmt: skip
    program = lowered(net)
    got = execute.run_program(program, torch.randn(2, 4, 8, 8), keep=["a", "pad", "cut", "turn"])
    zero = program.tensors["a"].format.zero_point
    assert torch.equal(got["pad"], torch.nn.functional.pad(got["a"], (0, 1, 1, 0, 0, 2), value=zero))
    assert torch.equal(got["turn"], got["pad"][:, :, 0:9:2, 1:9:3].permute(0, 2, 1, 3))


def test_moves_before_the_first_layer_are_integer_and_the_input_is_quantized_first():
    net = network(node("shape", plain.Reshape((4, 8, 8)), "x"), conv("a", "shape"), shape=(1, 8, 8, 4))
    assert kinds(lowered(net)) == ["quantize", "reshape", "conv", "dequantize f"]


def test_a_pool_with_one_window_is_a_mean_over_that_window():
    net = network(conv("a", "x"), node("pool", plain.AveragePool((7, 8), (7, 8), (0, 0, 0, 0)), "a"))
    program = lowered(net)
    assert kinds(program)[2:4] == ["slice", "global_average_pool"]
    x = torch.randn(6, 4, 8, 8)
    got = execute.run_program(program, x, keep=["a", "pool"])
    a, form = program.tensors["a"].format, program.tensors["pool"].format
    real = (got["a"][:, :, :7].double() - a.zero_point).mean((2, 3)) * a.scale / form.scale + form.zero_point
    assert (got["pool"][:, :, 0, 0].double() - real.clamp(-128, 127)).abs().max() < 0.5001


def test_constants_make_a_float_operation():
    net = network(conv("a", "x"), node("k", Constant(torch.ones(1, 4, 1, 1))), node("sum", plain.Add(), "a", "k"))
    assert kinds(lowered(net)) == ["quantize", "conv", "constant f", "dequantize f", "add f"]


def test_every_add_is_reconciled_and_its_readers_see_the_changed_scale():
    torch.manual_seed(3)
    nodes = [conv("c0", "x")]
    for i in range(12):
        nodes += [conv(f"b{i}", nodes[-1].name), node(f"s{i}", plain.Add(), f"b{i}", nodes[-1].name)]
    program = lowered(network(*nodes))
    adds = [op for op in program.operations if op.kind == "add"]
    assert len(adds) == 12
    assert not any(op.listed for op in adds)
    for op in adds:
        assert pairs.agrees("add", (*op.input_formats, op.output_format))
    assert any(op.output_format != choose(*ranges(network(*nodes))[op.output]) for op in adds)
    for op in program.operations:
        assert op.input_formats == tuple(program.tensors[name].format for name in op.inputs)


def test_an_add_that_cannot_be_reconciled_is_listed_and_follows_its_target(monkeypatch):
    net = network(conv("a", "x"), conv("b", "x"), node("sum", plain.Add(), "a", "b"))
    monkeypatch.setattr(pairs, "agrees", lambda kind, formats: False)
    program = lowered(net)
    operation = program.by_output["sum"]
    assert operation.listed
    x = torch.randn(4, 4, 8, 8)
    for target, form in pairs.TARGETS["add"].items():
        got = execute.run_program(program, x, target, keep=["a", "b", "sum"])
        formats = (*operation.input_formats, operation.output_format)
        assert (got["sum"].numpy() == form(*(got[n].numpy().astype(np.int32) for n in "ab"), formats)).all()


def test_a_result_does_not_depend_on_the_batch():
    program = lowered(network(*RESIDUAL))
    x = torch.randn(7, 4, 8, 8)
    whole = execute.run_program(program, x)[program.outputs[0]]
    single = torch.cat([execute.run_program(program, x[i : i + 1])[program.outputs[0]] for i in range(7)])
    assert torch.equal(whole, single)


def test_keys_change_exactly_behind_what_changed():
    net = network(*RESIDUAL)
    encodings = grids(net)
    first, again = lowered(net, encodings), lowered(net, dict(encodings))
    assert [op.key for op in first.operations] == [op.key for op in again.operations]
    assert first.by_output["ra"].weights is again.by_output["ra"].weights
    changed = encodings["b"].q.copy()
    changed[0, 0, 0, 0] = not changed[0, 0, 0, 0]
    other = lowered(net, {**encodings, "b": Grid(changed, encodings["b"].scale, 0, 8)})
    differ = [a.output for a, b in zip(first.operations, other.operations, strict=True) if a.key != b.key]
    assert differ == ["b", "rs", "mean", "flat", "fc", "fc:float"]
    assert len({op.key for op in first.operations}) == len(first.operations)


def test_peak_ram_counts_int8_tensors_that_live_at_once():
    # 4x8x8 = 256 bytes each. At the add, ra, b and its result live: 768. In float 4 times that.
    assert cost.peak_ram(lowered(network(*RESIDUAL))) == 768
    assert cost.peak_ram(lower(network(*RESIDUAL), {}, {}, {})) == 4 * 768
    sizes = cost.deployed_bytes(lowered(network(*RESIDUAL)))
    assert (sizes["x"], sizes["x:int8"], sizes["fc"], sizes["fc:float"]) == (1024, 256, 3, 12)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [(0.0, 25.5, 0.1, -128), (-25.5, 0.0, 0.1, 127), (-12.75, 12.75, 0.1, 0), (-1.0, 254.0, 1.0, -127),
     (0.0, 0.0, 1 / 128, 0)],
)  # fmt: skip
def test_formats_by_hand(low, high, scale, zero):
    found = choose(low, high)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert np.float32(found.scale) == found.scale
    # -12.75 / 0.1 is -127.5 from the middle: either neighbour of zero is as good.
    assert abs(found.zero_point - zero) <= (low == -12.75)


def test_a_range_that_is_not_finite_is_a_programming_error():
    with pytest.raises(ValueError, match="finite"):
        choose(0.0, math.inf)


def test_clamps_by_hand():
    form = TensorFormat(0.1, -28)
    assert clamp(None, form) == (-128, 127)
    assert clamp((0.0, math.inf), form) == (-28, 127)
    assert clamp((0.0, 6.0), form) == (-28, 32)
    assert clamp((-1.0, 1.0), form) == (-38, -18)


def test_multipliers_stay_below_256():
    net = network(conv("a", "x"))
    program = lowered(net, a=(-1e-9, 1e-9))
    assert program.by_output["a"].weights.multiplier.max() <= 128


def test_blocks_change_no_result(monkeypatch):
    program = lowered(network(*RESIDUAL))
    x = torch.randn(11, 4, 8, 8)
    names = [op.output for op in program.operations]
    whole = execute.run_program(program, x, keep=names)
    monkeypatch.setattr(blocks, "BYTES", 4 * 256 * 2)
    parts = execute.run_program(program, x, keep=names)
    assert all(torch.equal(whole[name], parts[name]) for name in names)


@given(low=st.floats(-1e4, 0), high=st.floats(0, 1e4))
def test_a_format_holds_zero_exactly_and_its_range_within_a_step(low, high):
    found = choose(low, high)
    ends = [(q - found.zero_point) * found.scale for q in (-128, 127)]
    assert -128 <= found.zero_point <= 127
    assert ends[0] <= low + found.scale * 0.51
    assert ends[1] >= high - found.scale * 0.51
