"""Cross-layer equalization: the same function, ranges that agree, speaking refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.cost import describe
from studio.network.network import Network, Node
from studio.network.operators import Operator
from studio.network.partners import Partner, partners
from studio.network.shapes import tensor_shapes
from studio.techniques._equalize import equalized
from studio.techniques.equalize import TECHNIQUE

MADE = torch.Generator().manual_seed(0)


def spread(*shape: int) -> torch.Tensor:
    """Random weights whose channels differ in size a thousandfold."""
    weight = torch.randn(shape, generator=MADE)
    return weight * 10 ** (3 * torch.rand((shape[0], *[1] * (len(shape) - 1)), generator=MADE) - 2)


def conv(out: int, into: int, size: int = 3, groups: int = 1, bias: bool = True) -> Operator:
    weight = spread(out, into // groups, size, size)
    return op.Conv(weight, torch.randn(out, generator=MADE) if bias else None, (1, 1), (size // 2,) * 4, (1, 1), groups)


def chain(shape: tuple[int, ...], *operators: Operator) -> Network:
    nodes = [Node("x", "x", (), op.Input((1, *shape)))]
    for i, operator in enumerate(operators):
        nodes.append(Node(f"n{i}", f"n{i}", (nodes[-1].name,), operator))
    return Network("chain", nodes, [nodes[-1].name])


def linear(out: int, into: int) -> Operator:
    return op.Linear(spread(out, into), torch.randn(out, generator=MADE))


CHAINS: dict[str, tuple[tuple[int, ...], tuple[Operator, ...]]] = {
    "conv, relu, conv": ((3, 6, 6), (conv(8, 3), plain.Relu(), conv(5, 8))),
    "no bias, nothing between": ((3, 6, 6), (conv(8, 3, bias=False), conv(5, 8))),
    "depthwise": ((4, 6, 6), (conv(8, 4, 1), plain.Relu(), conv(8, 8, 3, 8), plain.Relu(), conv(6, 8, 1))),
    "grouped": ((4, 6, 6), (conv(8, 4, 3, 2), plain.LeakyRelu(0.1), conv(6, 8, 3, 2), plain.Relu(), conv(4, 6))),
    "pooled and flattened": (
        (3, 8, 8),
        (conv(6, 3), plain.Relu(), plain.MaxPool((2, 2), (2, 2), (0,) * 4), plain.Reshape((6 * 16,)), linear(7, 96)),
    ),
    "global pooling": (
        (3, 8, 8), (conv(6, 3), plain.Relu(), plain.GlobalAveragePool(), plain.Reshape((6,)), linear(7, 6)),
    ),
    "three linear layers": ((9,), (linear(16, 9), plain.Relu(), linear(12, 16), plain.Relu(), linear(4, 12))),
    "linear over a sequence": ((5, 9), (linear(16, 9), plain.Relu(), linear(12, 16))),
    "transposed": (
        (4, 5, 5),
        (conv(6, 4), plain.Relu(), op.ConvTranspose(spread(6, 2, 2, 2), None, (2, 2), (0,) * 4, (0, 0), (1, 1), 2),
         plain.Relu(), conv(3, 4)),
    ),
    "prelu": ((3, 6, 6), (conv(8, 3), plain.Prelu(torch.rand(8, 1, 1, generator=MADE)), conv(5, 8))),
}  # fmt: skip


def found(network: Network) -> dict[str, Partner | str]:
    return partners(network, tensor_shapes(network))


@pytest.mark.parametrize("case", CHAINS)
def test_the_function_stays_and_ranges_agree(case: str) -> None:
    shape, operators = CHAINS[case]
    network = chain(shape, *operators)
    pairs = {name: one for name, one in found(network).items() if isinstance(one, Partner)}
    assert len(pairs) == len([o for o in operators if o.kind in ("conv", "conv_transpose", "linear")]) - 1
    before = [node.operator.weight.clone() for node in network.nodes if hasattr(node.operator, "weight")]
    made = equalized(network, pairs)
    x = torch.randn((4, *shape), generator=MADE)
    old, new = network(x)[0], made(x)[0]
    assert float((new - old).abs().max()) <= 1e-5 * float(old.abs().max())
    after = [node.operator.weight for node in network.nodes if hasattr(node.operator, "weight")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # the input stays as it was
    for name, partner in pairs.items():
        first, second = made.by_name[name].operator, made.by_name[partner.reader].operator
        if first.kind == "conv" and second.kind == "conv" and second.groups == 1:
            written = first.weight.abs().amax((1, 2, 3))
            read = second.weight.abs().amax((0, 2, 3))
            assert torch.allclose(written, read, rtol=0.02)


def test_scales_by_hand() -> None:
    """`|W1| = 8, 2` and `|W2| = 2, 8` meet at `sqrt(8 * 2) = 4`; the bias goes along: 1 / 2, 1 * 2."""
    first = op.Linear(torch.tensor([[8.0], [-2.0]]), torch.tensor([1.0, 1.0]))
    second = op.Linear(torch.tensor([[2.0, 8.0]]), torch.tensor([3.0]))
    made = equalized(chain((1,), first, plain.Relu(), second), {"n0": Partner("n2")})
    assert made.by_name["n0"].operator.weight.flatten().tolist() == pytest.approx([4, -4], rel=1e-3)
    assert made.by_name["n0"].operator.bias.tolist() == pytest.approx([0.5, 2], rel=1e-3)
    assert made.by_name["n2"].operator.weight.flatten().tolist() == pytest.approx([4, 4], rel=1e-3)
    assert made.by_name["n2"].operator.bias.tolist() == [3]


def test_dead_channels_are_left_alone() -> None:
    first, second = linear(4, 3), linear(2, 4)
    first.weight.data[1] = 0
    second.weight.data[:, 2] = 0
    made = equalized(chain((3,), first, plain.Relu(), second), {"n0": Partner("n2")})
    assert all(torch.isfinite(node.operator.weight).all() for node in made.nodes if node.kind == "linear")
    assert torch.equal(made.by_name["n0"].operator.weight[2], first.weight[2])


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (plain.Clip(0.0, 6.0), "ReLU6 behind n0 clips at fixed values"),
        (plain.Clip(-1.0, 1.0), "A clip behind n0"),
        (plain.Sigmoid(), "n1 (sigmoid) stands behind n0"),
        (plain.Transpose((0, 1, 3, 2)), "n1 (transpose) stands behind n0"),
    ],
)
def test_what_scales_do_not_pass_is_said(between: Operator, words: str) -> None:
    network = chain((3, 6, 6), conv(8, 3), between, conv(5, 8))
    graph = describe(network)
    reason = TECHNIQUE.refuses(graph.layer("n0"), None)
    assert reason is not None
    assert words in reason
    assert reason.endswith(".")
    last = TECHNIQUE.refuses(graph.layer("n2"), None)
    assert last == "The channels of n2 are the network's output: no single layer could make good a scale."


def test_a_tensor_read_twice_is_refused() -> None:
    nodes = [
        Node("x", "x", (), op.Input((1, 3, 6, 6))), Node("a", "a", ("x",), conv(3, 3)),
        Node("b", "b", ("a",), conv(3, 3)), Node("c", "c", ("a", "b"), plain.Add()),
    ]  # fmt: skip
    graph = describe(Network("branch", nodes, ["c"]))
    assert TECHNIQUE.refuses(graph.layer("a"), None) == (
        "The channels of a are read more than once: no single layer could make good a scale."
    )


def test_one_scale_for_a_layer_then_loses_little(shared: Path) -> None:
    """Whole way: a plan on a real network keeps the float result, and per-tensor int8 gets nearer to it."""
    from studio.session import open_session

    folder = shared / "data"
    session: Any = open_session(
        folder / "models" / "mnist_cnn_cntk.onnx", folder / "data" / "mnist_test_even5k.npz", samples=200
    )
    session.cancel()
    engine = session.engine
    layers = [layer.name for layer in engine.graph.weighted if layer.unequal is None]
    assert layers
    plain_outputs = engine.outputs(Plan(), 2)[0]
    plan = Plan()
    for name in layers:
        plan = plan.with_step(name, Step("equalize"))
    same = engine.outputs(plan, 2)[0]
    assert np.abs(same - plain_outputs).max() <= 1e-5 * np.abs(plain_outputs).max()
    last = engine.graph.weighted[-1].name
    with pytest.raises(Refused, match="network's output"):
        engine.resolve(Plan().with_step(last, Step("equalize")))
    session.close()
