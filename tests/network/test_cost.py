"""MACs, parameters, bytes, peak RAM and channel groups of small networks, worked out by hand."""

from __future__ import annotations

import torch

from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.cost import describe, peak_ram
from studio.network.groups import channel_groups
from studio.network.network import Network, Node


def conv(
    into: int, out: int, kernel: int = 3, pads: int = 1, groups: int = 1, stride: int = 1, bias: bool = True
) -> op.Conv:
    weight = torch.ones((out, into // groups, kernel, kernel))
    return op.Conv(weight, torch.ones(out) if bias else None, (stride,) * 2, (pads,) * 4, (1, 1), groups)


def network(*nodes: tuple[str, op.Operator, tuple[str, ...]], shape: tuple[int, ...] = (1, 3, 8, 8)) -> Network:
    made = [Node("x", "x", (), op.Input(shape)), *(Node(name, name, inputs, o) for name, o, inputs in nodes)]
    return Network("n", made, [made[-1].name])


def residual() -> Network:
    return network(
        ("a", conv(3, 4), ("x",)),
        ("r", plain.Relu(), ("a",)),
        ("b", conv(4, 4, bias=False), ("r",)),
        ("s", plain.Add(), ("b", "r")),
        ("out", plain.Relu(), ("s",)),
    )


def test_macs_parameters_and_bytes() -> None:
    graph = describe(
        network(
            ("c", conv(3, 4, stride=2), ("x",)),  # 4 x 4 places
            ("d", conv(4, 4, groups=4), ("c",)),
            ("t", op.ConvTranspose(torch.ones((4, 2, 2, 2)), None, (2, 2), (0,) * 4, (0, 0), (1, 1), 1), ("d",)),
            ("f", plain.Reshape((2 * 8 * 8,)), ("t",)),
            ("fc", op.Linear(torch.ones((5, 128)), torch.ones(5)), ("f",)),
        )
    )
    found = {layer.name: (layer.macs, layer.parameters, layer.activation_bytes) for layer in graph.layers}
    assert found == {
        "x": (0, 0, 4 * 3 * 64),
        "c": (16 * 4 * 3 * 9, 4 * 3 * 9 + 4, 4 * 4 * 16),
        "d": (16 * 4 * 9, 4 * 9 + 4, 4 * 4 * 16),
        "t": (16 * 4 * 2 * 4, 4 * 2 * 4, 4 * 2 * 64),
        "f": (0, 0, 4 * 128),
        "fc": (5 * 128, 5 * 128 + 5, 4 * 5),
    }


def test_macs_of_products_and_of_linear_layers_on_rows() -> None:
    graph = describe(
        network(
            ("fc", op.Linear(torch.ones((7, 6)), None), ("x",)),
            ("t", plain.Transpose((0, 2, 1)), ("fc",)),
            ("m", op.MatMul(), ("fc", "t")),
            shape=(1, 5, 6),
        )
    )
    assert [layer.macs for layer in graph.layers] == [0, 5 * 7 * 6, 0, 5 * 5 * 7]


def test_peak_ram_of_a_chain_is_its_largest_pair() -> None:
    net = network(("a", conv(3, 8), ("x",)), ("r", plain.Relu(), ("a",)), ("b", conv(8, 2), ("r",)))
    # x and a: 3 + 8 planes; the ReLU writes in place; r and b: 8 + 2.
    assert describe(net).peak_ram_bytes == 4 * 64 * 11


def test_peak_ram_of_a_shortcut_keeps_it_alive() -> None:
    # At the sum: b, r and s, four planes each.
    assert describe(residual()).peak_ram_bytes == 4 * 64 * 12


def test_peak_ram_by_deployed_widths() -> None:
    graph = describe(residual())
    assert peak_ram(graph.layers, ("out",), lambda name: 64 * 4) == 3 * 256
    assert peak_ram(graph.layers, ("out",), lambda name: {"x": 1000}.get(name, 1)) == 1001


def test_an_output_stays_alive() -> None:
    net = residual()
    graph = describe(Network("n", net.nodes, ["r", "out"]))
    assert graph.peak_ram_bytes == 4 * 64 * 12
    assert peak_ram(graph.layers, ("x", "out"), lambda name: 1) == 4  # x, b, r, s


def test_constants_lie_in_flash() -> None:
    net = network(("c", op.Constant(torch.ones((1, 3, 8, 8))), ()), ("s", plain.Add(), ("x", "c")))
    assert describe(net).peak_ram_bytes == 2 * 4 * 3 * 64
    assert [layer.parameters for layer in describe(net).layers] == [0, 0, 0]


def test_details_and_rectified() -> None:
    layers = {layer.name: layer for layer in describe(residual()).layers}
    assert layers["a"].detail == "Conv 3×3 · 3 → 4"
    assert layers["a"].rectified
    assert layers["b"].rectified  # behind the sum
    assert not layers["s"].rectified
    assert layers["b"].weight_shape == (4, 4, 3, 3)
    assert layers["s"].weight_shape is None


def test_a_sum_joins_its_layers() -> None:
    assert channel_groups(residual()) == {"a": "a", "b": "a"}


def test_a_depthwise_layer_joins_the_one_before() -> None:
    net = network(
        ("a", conv(3, 4), ("x",)),
        ("r", plain.Relu(), ("a",)),
        ("d", conv(4, 4, groups=4), ("r",)),
        ("p", conv(4, 6, 1, 0), ("d",)),
    )
    assert channel_groups(net) == {"a": "a", "d": "a", "p": "p"}


def test_a_grouped_layer_that_is_not_depthwise_stands_alone() -> None:
    net = network(("a", conv(3, 4), ("x",)), ("g", conv(4, 4, groups=2), ("a",)))
    assert channel_groups(net) == {"a": "a", "g": "g"}


def test_a_concat_joins_all_its_inputs() -> None:
    net = network(
        ("a", conv(3, 4), ("x",)),
        ("b", conv(3, 2), ("x",)),
        ("c", plain.Concat(1), ("a", "b")),
        ("d", conv(6, 5), ("c",)),
    )
    assert channel_groups(net) == {"a": "a", "b": "a", "d": "d"}


def test_padded_channels_join_what_they_are_added_to() -> None:
    net = network(
        ("a", conv(3, 4), ("x",)),
        ("pad", plain.Pad((0, 1, 0, 0, 0, 1, 0, 0), "constant", 0.0), ("a",)),
        ("b", conv(4, 6), ("a",)),
        ("s", plain.Add(), ("b", "pad")),
    )
    assert channel_groups(net) == {"a": "a", "b": "a"}  # b's middle four channels meet those of a


def test_a_linear_layer_is_a_group_of_its_own() -> None:
    net = network(
        ("a", conv(3, 4), ("x",)),
        ("g", plain.GlobalAveragePool(), ("a",)),
        ("f", plain.Reshape((4,)), ("g",)),
        ("fc", op.Linear(torch.ones((5, 4)), None), ("f",)),
    )
    assert channel_groups(net) == {"a": "a", "fc": "fc"}
