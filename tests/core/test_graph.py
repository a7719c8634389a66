"""Finding layers by name, by the file's own name and by glob."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.core.errors import PlanError
from studio.core.graph import Graph, Layer


def layer(name: str, kind: str = "conv", inputs: tuple[str, ...] = (), **fields: object) -> Layer:
    weight = (4, 4, 3, 3) if kind in ("conv", "conv_transpose") else None
    found = Layer(name, f"/net/{name}/Conv", kind, kind, inputs, (), (1, 4, 8, 8), weight, 10, 100, 1024, None)
    return replace(found, **fields)


GRAPH = Graph(
    "net.onnx",
    (
        layer("input", "input"),
        layer("block.conv1", inputs=("input",)),
        layer("block.relu", "relu", inputs=("block.conv1",)),
        layer("block.conv2", inputs=("block.relu",)),
        layer("up", "conv_transpose", inputs=("block.conv2",)),
        layer("add", "add", inputs=("block.relu", "up")),
    ),
    ("add",),
    4096,
)


def test_a_layer_is_found_by_either_name() -> None:
    assert GRAPH.layer("up") is GRAPH.layer("/net/up/Conv")
    assert "up" in GRAPH
    assert "/net/up/Conv" not in GRAPH


def test_an_unknown_layer_names_the_nearest() -> None:
    with pytest.raises(PlanError, match=r"no layer 'block\.conv3' in net\.onnx.*block\.conv"):
        GRAPH.layer("block.conv3")
    with pytest.raises(PlanError, match="inspect"):
        GRAPH.layer("zzz")


def test_a_glob_means_layers_with_weights_only() -> None:
    assert [n.name for n in GRAPH.match("block.*")] == ["block.conv1", "block.conv2"]
    assert [n.name for n in GRAPH.match("*conv[2-9]")] == ["block.conv2"]
    assert [n.name for n in GRAPH.match("add")] == ["add"]
    with pytest.raises(PlanError, match="no layer matches 'x\\*'"):
        GRAPH.match("x*")


def test_a_name_with_glob_signs_in_it_is_a_name_first() -> None:
    graph = replace(GRAPH, layers=(*GRAPH.layers, layer("odd[1]")))
    assert [n.name for n in graph.match("odd[1]")] == ["odd[1]"]


def test_sums_and_neighbours() -> None:
    assert [n.name for n in GRAPH.weighted] == ["block.conv1", "block.conv2", "up"]
    assert (GRAPH.macs, GRAPH.parameters) == (600, 60)
    assert GRAPH.consumers("block.relu") == ("block.conv2", "add")
    assert [n.channel_axis for n in GRAPH.weighted] == [0, 0, 1]


def test_the_fingerprint_is_that_of_the_architecture() -> None:
    def changed(**fields: object) -> str:
        return replace(GRAPH, layers=(*GRAPH.layers[:-1], replace(GRAPH.layers[-1], **fields))).fingerprint

    assert GRAPH.fingerprint.startswith("sha256:")
    assert replace(GRAPH, name="other.onnx").fingerprint == GRAPH.fingerprint
    assert changed(detail="other", macs=7, source="x") == GRAPH.fingerprint
    assert GRAPH.fingerprint not in (changed(kind="sub"), changed(name="sum"), changed(output_shape=(1, 4, 8, 9)))
