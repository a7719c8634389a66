"""A cut network computes what the whole one does when nothing reads the removed channels."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio import formats
from studio.core.errors import PlanError, Refused
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.channels import channels_of
from studio.network.content import weights_key
from studio.network.cutting import cut
from studio.network.fold import fold
from studio.network.groups import ChannelGroup, groups_of
from studio.network.network import Network, Node

sys.path.insert(0, str(Path(__file__).parent))

from random_networks import BLOCKS, ENDS, random_network

MODELS = (
    "cifar10_resnet20", "cifar10_smallcnn_wml", "kws_dscnn_alibaba", "mlperftiny_ad_autoencoder",
    "mlperftiny_ic_resnet8", "mnist_cnn_cntk", "traffic_signs43_cnn", "vww96_tinymaix",
)  # fmt: skip
LARGE = ("face_yunet_n_320", "fastestdet_coco", "squeezenet_imagenet_fp16")
KEEPS_ZERO = {
    "input", "conv", "linear", "relu", "add", "concat", "slice", "pad", "reshape", "transpose", "gather", "max_pool",
    "average_pool", "global_average_pool", "reduce_mean", "resize", "softmax",
}  # fmt: skip
"""Kinds through which a silent channel stays silent; softmax only stands behind a network's last layer."""


def unread(network: Network, gone: np.ndarray) -> Network:
    """The whole network in which no layer has a weight for the channels that go."""
    return network.with_nodes([_unread(network, node, gone) for node in network.nodes])


def _unread(network: Network, node: Node, gone: np.ndarray) -> Node:
    if node.kind not in ("conv", "conv_transpose", "linear"):
        return node
    channels = channels_of(network)
    size = channels.shapes[node.inputs[0]][-1 if node.kind == "linear" else 1]
    dead = torch.from_numpy(np.broadcast_to(np.isin(channels.lines[node.inputs[0]].classes, gone), (size,)).copy())
    operator = copy.deepcopy(node.operator)
    if isinstance(operator, op.ConvTranspose):
        operator.weight.data[dead] = 0
    elif isinstance(operator, op.Linear):
        operator.weight.data[:, dead] = 0
    else:
        assert isinstance(operator, op.Conv)
        rows = len(operator.weight) // operator.groups
        for group, part in enumerate(dead.reshape(operator.groups, -1)):
            operator.weight.data[group * rows : (group + 1) * rows, part] = 0
    return replace(node, operator=operator)


def silent(network: Network, gone: np.ndarray) -> Network:
    """The whole network in which the channels that go are zero where they are made."""
    nodes = []
    for node in network.nodes:
        operator = copy.deepcopy(node.operator)
        if node.name in channels_of(network).made:
            dead = torch.from_numpy(np.isin(channels_of(network).made[node.name], gone))
            assert not isinstance(operator, op.ConvTranspose)
            operator.weight.data[dead] = 0  # type: ignore[operator]
            if operator.bias is not None:
                operator.bias.data[dead] = 0  # type: ignore[operator]
        nodes.append(replace(node, operator=operator))
    return network.with_nodes(nodes)


def random_cut(group: ChannelGroup, rng: np.random.Generator) -> np.ndarray:
    kept = np.ones(len(group.classes), np.bool_)
    for part in group.parts:
        if len(part) > 1:
            kept[rng.permutation(part)[: rng.integers(1, len(part))]] = False
    return kept


def check(
    network: Network, groups: Sequence[ChannelGroup], rng: np.random.Generator, samples: int = 3, double: bool = True
) -> None:
    kept = {group.name: random_cut(group, rng) for group in groups}
    gone = np.concatenate([group.classes[~kept[group.name]] for group in groups])
    shape = (samples, *network.input_shape[1:])
    x = torch.from_numpy(rng.normal(0, 1, shape))
    found = cut(network, kept)
    for group in groups:
        for name in group.layers:
            made = channels_of(network).made[name]
            axis = int(found.by_name[name].kind == "conv_transpose")
            weight = found.by_name[name].operator.state_dict()["weight"]
            assert (
                weight.shape[axis] * (weight_groups(found.by_name[name]) if axis else 1) == (~np.isin(made, gone)).sum()
            )
    assert [node.name for node in found.nodes] == [node.name for node in network.nodes]
    references = [unread(network, gone)]
    if all(n.kind in KEEPS_ZERO and n.operator.settings().get("value", 0) == 0 for n in network.nodes):
        references.append(silent(network, gone))
    results = run(found, x, double)
    for reference in references:
        for one, wanted in zip(results, run(reference, x, double), strict=True):
            assert one.shape == wanted.shape
            assert (one - wanted).abs().max() <= 1e-5 * max(float(wanted.max() - wanted.min()), 1e-30)


def weight_groups(node: Node) -> int:
    return int(node.operator.settings()["groups"])


def run(network: Network, x: torch.Tensor, double: bool) -> tuple[torch.Tensor, ...]:
    found: tuple[torch.Tensor, ...] = copy.deepcopy(network).double()(x) if double else network(x.float())
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_random_cut_of_each_group_and_of_all_computes_what_the_whole_network_does(name: str, shared: Path) -> None:
    network = fold(formats.read(shared / f"data/models/{name}.onnx"))
    groups = [group for group in groups_of(network).values() if not group.uncut]
    rng = np.random.default_rng(len(name))
    for group in groups:
        check(network, [group], rng)
    for _ in range(2):
        check(network, groups, rng)


@pytest.mark.parametrize("name", LARGE)
def test_random_cuts_of_large_networks(name: str, shared: Path) -> None:
    network = fold(formats.read(shared / f"data/models/{name}.onnx"))
    rng = np.random.default_rng(len(name))
    groups = [group for group in groups_of(network).values() if not group.uncut]
    dealt = rng.permutation(np.arange(len(groups)) % 2)
    for hand in range(2):
        check(network, [g for g, h in zip(groups, dealt, strict=True) if h == hand], rng, 1, double=False)


@settings(max_examples=80, deadline=None)
@given(
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5),
    end=st.sampled_from(ENDS),
    seed=st.integers(0, 10_000),
)
def test_random_networks(blocks: list[str], end: str, seed: int) -> None:
    network = random_network(blocks, end, seed)
    before = weights_key(network)
    rng = np.random.default_rng(seed)
    groups = [group for group in groups_of(network).values() if not group.uncut]
    if groups:
        check(network, [groups[rng.integers(len(groups))]], rng)
        check(network, groups, rng)
    assert weights_key(network) == before


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_can_be_cut(kind: str) -> None:
    network = random_network([kind, "conv"], "flatten", 3)
    groups = [group for group in groups_of(network).values() if not group.uncut]
    assert groups
    check(network, groups, np.random.default_rng(0))


def test_a_cut_by_hand() -> None:
    weight = torch.arange(12.0).reshape(3, 4, 1, 1)
    nodes = [
        Node("x", "x", (), op.Input((1, 4, 1, 2))),
        Node("a", "a", ("x",), op.Conv(weight, torch.tensor([1.0, 2.0, 3.0]), (1, 1), (0,) * 4, (1, 1), 1)),
        Node("f", "f", ("a",), plain.Reshape((6,))),
        Node("fc", "fc", ("f",), op.Linear(torch.arange(12.0).reshape(2, 6), None)),
    ]
    network = Network("n", nodes, ["fc"])
    found = cut(network, {"a": np.array([0, 2])})
    a, f, fc = (found.by_name[name].operator for name in ("a", "f", "fc"))
    assert a.weight.flatten().tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert a.bias.tolist() == [1, 3]
    assert f.settings()["shape"] == (4,)
    assert fc.weight.tolist() == [[0, 1, 4, 5], [6, 7, 10, 11]]  # channel 1 filled places 2 and 3
    assert found.by_name["x"] is network.by_name["x"]


def test_nothing_cut_is_the_network_itself() -> None:
    network = random_network(["residual"], "pool", 0)
    kept = {name: np.ones(len(group.classes), np.bool_) for name, group in groups_of(network).items()}
    assert cut(network, kept) is network
    assert cut(network, {}) is network


def test_bad_cuts_say_why() -> None:
    network = random_network(["residual"], "pool", 0)
    first = next(iter(groups_of(network).values()))
    last = list(groups_of(network).values())[-1]
    with pytest.raises(Refused, match="without channels"):
        cut(network, {first.name: np.zeros(len(first.classes), np.bool_)})
    with pytest.raises(Refused, match=f"{last.name}.*must stay: they are the network's output"):
        cut(network, {last.name: np.array([0])})
    with pytest.raises(PlanError, match="no channel group 'nothing'"):
        cut(network, {"nothing": np.array([0])})
    with pytest.raises(PlanError, match=f"2 flags for {len(first.classes)} channels"):
        cut(network, {first.name: np.array([True, False])})
