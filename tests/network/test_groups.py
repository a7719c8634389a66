"""Channel groups of real networks and of small ones, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from studio import formats
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.channel_ids import components
from studio.network.channels import channels_of
from studio.network.cost import describe
from studio.network.fold import fold
from studio.network.groups import ChannelGroup, groups_of
from studio.network.network import Network, Node


def conv(into: int, out: int, groups: int = 1) -> op.Conv:
    return op.Conv(torch.ones((out, into // groups, 1, 1)), None, (1, 1), (0,) * 4, (1, 1), groups)


def groups(*nodes: tuple[str, op.Operator, tuple[str, ...]]) -> dict[str, ChannelGroup]:
    return groups_of(network(*nodes))


def network(*nodes: tuple[str, op.Operator, tuple[str, ...]]) -> Network:
    made = [Node("x", "x", (), op.Input((1, 3, 4, 4))), *(Node(n, n, i, o) for n, o, i in nodes)]
    return Network("n", made, [made[-1].name])


def sizes(group: ChannelGroup) -> list[int]:
    return [len(part) for part in group.parts]


def test_the_padded_shortcuts_of_a_resnet_tie_its_stages(shared: Path) -> None:
    found = groups_of(fold(formats.read(shared / "data/models/cifar10_resnet20.onnx")))
    stream = found["conv1"]
    ends = [f"layer{stage}.{block}.conv2" for stage in (1, 2, 3) for block in range(3)]
    assert stream.layers == ("conv1", *ends)
    # 16 channels of all stages, 16 that stage 2 adds, 32 that stage 3 adds.
    assert sizes(stream) == [16, 16, 32]
    assert [name for name in found if name not in ("conv1", "linear")] == [e.replace("conv2", "conv1") for e in ends]
    assert found["linear"].uncut == "The channels of linear must stay: they are the network's output."


def test_both_widths_of_a_fire_module_are_cut_alike(shared: Path) -> None:
    found = groups_of(fold(formats.read(shared / "data/models/squeezenet_imagenet_fp16.onnx")))
    assert found["fire2.expand1x1"].layers == ("fire2.expand1x1", "fire2.expand3x3")
    assert sizes(found["fire2.expand1x1"]) == [64, 64]
    assert sizes(found["fire2.squeeze1x1"]) == [16]


def test_a_layer_knows_its_companions_and_why_it_cannot_be_cut(shared: Path) -> None:
    graph = describe(fold(formats.read(shared / "data/models/vww96_tinymaix.onnx")))
    first = graph.layer("conv2d")
    assert len(first.companions) == 1
    assert (first.group_channels, first.uncut) == (8, None)
    last = graph.weighted[-1]
    assert last.uncut is not None
    assert last.uncut.endswith("must stay: they are the network's output.")
    assert graph.layers[0].companions == ()


def test_tied_channels_of_a_grouped_convolution_go_in_each_group() -> None:
    found = groups(("a", conv(3, 8), ("x",)), ("g", conv(8, 6, 2), ("a",)), ("c", conv(6, 1), ("g",)))
    assert sizes(found["a"]) == [4]
    assert sizes(found["g"]) == [3]


def test_a_shuffle_ties_what_lies_in_one_column() -> None:
    net = network(
        ("a", conv(3, 6), ("x",)),
        ("s", plain.Reshape((2, 3, 4, 4)), ("a",)),
        ("t", plain.Transpose((0, 2, 1, 3, 4)), ("s",)),
        ("u", plain.Reshape((6, 4, 4)), ("t",)),
        ("c", conv(6, 1), ("u",)),
    )
    assert sizes(groups_of(net)["a"]) == [3]
    assert channels_of(net).made["a"].tolist() == [1, 2, 3, 1, 2, 3]
    assert channels_of(net).lines["u"].classes.tolist() == [1, 1, 2, 2, 3, 3]


def test_a_gate_of_one_channel_ties_nothing() -> None:
    found = groups(
        ("a", conv(3, 4), ("x",)),
        ("g", conv(3, 1), ("x",)),
        ("m", plain.Mul(), ("a", "g")),
        ("c", conv(4, 1), ("m",)),
    )
    assert found["a"].layers == ("a",)
    assert sizes(found["a"]) == [4]
    assert found["g"].uncut == "The channels of g cannot be cut one by one: they are one, or all hang together."


def test_reasons_name_what_holds_the_channels() -> None:
    def reason(*nodes: tuple[str, op.Operator, tuple[str, ...]]) -> str | None:
        return groups(("a", conv(3, 4), ("x",)), *nodes)["a"].uncut

    start = "The channels of a must stay: "
    assert reason(("c", conv(4, 2), ("a",))) is None
    assert reason(("r", plain.Relu(), ("a",))) == start + "they are the network's output."
    assert (
        reason(("s", plain.Softmax(1), ("a",)), ("c", conv(4, 2), ("s",))) == start + "s compares them with each other."
    )
    assert (
        reason(("m", plain.ReduceMean((1,), True), ("a",)), ("c", conv(1, 2), ("m",))) == start + "m takes their mean."
    )
    flat = ("f", plain.Reshape((4, 16)), ("a",))
    back = ("t", plain.Transpose((0, 2, 1)), ("f",))
    product = ("p", op.MatMul(), ("f", "t"))
    end = ("l", op.Linear(torch.ones(2, 4), None), ("p",))
    assert reason(flat, back, product, end) == start + "p multiplies two computed tensors."
    assert reason(flat, ("l", op.Linear(torch.ones(2, 16), None), ("f",))) == start + "l reads them place by place."


def test_a_sum_with_the_input_holds_its_channels() -> None:
    found = groups(("a", conv(3, 3), ("x",)), ("s", plain.Add(), ("x", "a")), ("c", conv(3, 2), ("s",)))
    assert found["a"].uncut == "The channels of a must stay: they are the network's input."


def test_components_by_hand() -> None:
    left, right = np.array([5, 3, 4]), np.array([3, 1, 0])
    assert components(6, left, right).tolist() == [0, 1, 2, 1, 0, 1]
