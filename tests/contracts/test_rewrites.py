"""What every technique that rewrites the network keeps, on random networks and with all of its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from studio.core import registry
from studio.core.errors import Refused
from studio.core.plan import Step
from studio.core.settings import Declared, declared
from studio.core.technique import REWRITES, Stage
from studio.network.content import weights_key
from studio.network.cost import describe
from studio.network.fold import fold
from studio.network.network import Network
from studio.techniques._rewrite import RewriteContext

sys.path.insert(0, str(Path(__file__).parents[1] / "network"))
from random_networks import BLOCKS, ENDS, random_network

NAMES = [n for n in registry.names("techniques") if registry.find("techniques", n).stage in REWRITES]


def value_of(one: Declared) -> st.SearchStrategy[Any]:
    if one.kind == "int":
        return st.integers(int(one.low or 0), int(one.high or 100))
    if one.kind == "float":
        return st.floats(one.low or 0, one.high or 1)
    return st.sampled_from(one.choices) if one.kind == "choice" else st.booleans()


def step_of(name: str) -> st.SearchStrategy[Step]:
    own = {one.name: value_of(one) for one in declared(registry.find("techniques", name).settings)}
    return st.fixed_dictionaries({}, optional=own).map(lambda values: Step(name, **values))


def context_of(network: Network, seed: int) -> RewriteContext:
    graph, known = describe(network), {}
    batches = [torch.randn(n, *network.input_shape[1:], generator=torch.Generator().manual_seed(seed)) for n in (5, 3)]

    def scores(layer: str, criterion: str) -> np.ndarray:
        found = graph.layer(layer)
        assert found.weight_shape is not None
        channels = found.output_shape[-1 if found.kind == "linear" else 1]
        return np.random.default_rng(len(layer)).random(channels)

    def remember(key: str, compute: Callable[[], Any]) -> Any:
        if key not in known:
            known[key] = compute()
        return known[key]

    return RewriteContext(network, graph, scores, lambda: batches, remember, recall=known.get)


def work_of(network: Network, step: Step) -> dict[str, Any]:
    """Every target that takes the step: layers, for STRUCTURE channel groups."""
    layers = [n for n in describe(network).weighted if step.found.refuses(n, step.values) is None]
    names = {str(n.group) if step.stage == Stage.STRUCTURE else n.name for n in layers}
    return dict.fromkeys(sorted(names), step.values)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=30)
@given(
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4), end=st.sampled_from(ENDS),
    seed=st.integers(0, 999), data=st.data(),
)  # fmt: skip
def test_a_rewrite_is_a_pure_function_that_keeps_outputs_names_and_size(
    name: str, blocks: list[str], end: str, seed: int, data: st.DataObject
) -> None:
    network, step = fold(random_network(blocks, end, seed)), data.draw(step_of(name))
    key, graph, x = weights_key(network), describe(network), torch.randn(2, *network.input_shape[1:])
    try:
        made = step.found.rewrite(network, work_of(network, step), context_of(network, seed))  # type: ignore[attr-defined]
    except Refused:
        reject()
    assert weights_key(network) == key
    again = step.found.rewrite(network, work_of(network, step), context_of(network, seed))  # type: ignore[attr-defined]
    assert weights_key(again) == weights_key(made)
    before, after = network(x), made(x)
    assert [y.shape for y in after] == [y.shape for y in before]
    assert all(torch.isfinite(y).all() for y in after)
    names = [layer.name for layer in describe(made).weighted]
    assert all(n in graph or n.rpartition("/")[0] in graph for n in names)
    # A bias may be new: what a lost channel gave on average.
    biases = sum(layer.output_shape[-1 if layer.kind == "linear" else 1] for layer in graph.weighted)
    assert describe(made).parameters <= graph.parameters + biases


@pytest.mark.parametrize("name", NAMES)
def test_no_work_changes_nothing(name: str) -> None:
    network = fold(random_network(["residual", "depthwise"], "flatten", 1))
    made = registry.find("techniques", name).rewrite(network, {}, context_of(network, 1))
    assert weights_key(made) == weights_key(network)
