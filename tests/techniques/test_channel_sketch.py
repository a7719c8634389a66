"""The quick form of a cut: no sample is run, and what is in memory is used as numpy would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.core.errors import DataError
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.content import weights_key
from studio.network.cost import describe
from studio.network.cutting import cut
from studio.network.network import Network, Node
from studio.techniques._channel_cut import kept_channels
from studio.techniques._rewrite import RewriteContext
from studio.techniques.prune_channels import TECHNIQUE, PruneChannelsSettings

RNG = np.random.default_rng(8)


def values(*shape: int) -> Tensor:
    return torch.from_numpy(RNG.normal(0, 1, shape).astype(np.float32))


def chain(second: Tensor, bias: Tensor | None = None) -> Network:
    """Linear 4 -> 6, ReLU, linear 6 -> 3."""
    nodes = [
        Node("x", "x", (), op.Input((1, 4))),
        Node("a", "a", ("x",), op.Linear(values(6, 4), values(6))),
        Node("r", "r", ("a",), plain.Relu()),
        Node("b", "b", ("r",), op.Linear(second, bias)),
    ]
    return Network("n", nodes, ["b"])


class Memory:
    """What a rewriter remembers, and how often samples were asked for."""

    def __init__(self, net: Network, samples: Sequence[Tensor] | None) -> None:
        self.kept: dict[str, Any] = {}
        self.asked = 0
        self._samples = samples
        self.context = RewriteContext(
            net, describe(net), lambda *_: np.zeros(6), self.batches, self.remember, recall=self.kept.get
        )

    def batches(self) -> Sequence[Tensor]:
        self.asked += 1
        if self._samples is None:
            raise DataError("there is no data.", remedy="Give data.")
        return self._samples

    def remember(self, key: str, compute: Any) -> Any:
        return self.kept[key] if key in self.kept else self.kept.setdefault(key, compute())


def work(**settings: Any) -> dict[str, PruneChannelsSettings]:
    return {"a": PruneChannelsSettings(scope="layer", **settings)}


def test_with_nothing_in_memory_the_least_squared_weights_go() -> None:
    second = torch.tensor([[3.0, 1, 5, 2, 4, 6], [3, 1, 5, 2, 4, -6], [0, 2, 0, 0, 0, 0]])  # squares 18 6 50 8 32 72
    net, memory = chain(second), Memory(chain(second), None)
    found = TECHNIQUE.sketch(net, work(amount=0.5), memory.context)
    assert found is not None
    assert np.flatnonzero(found[1]["a"]).tolist() == [2, 4, 5]
    assert weights_key(found[0]) == weights_key(cut(net, {"a": np.array([2, 4, 5])}))  # nothing to fit with
    assert memory.asked == 0


@pytest.mark.parametrize("biased", [True, False])
def test_with_moments_in_memory_it_is_the_full_choice_and_numpys_least_squares(biased: bool) -> None:
    net = chain(values(3, 6), values(3) if biased else None)
    x = values(5000, 4)
    memory = Memory(net, [x])
    full = kept_channels(net, work(amount=0.34), memory.context)["a"]
    memory.context = replace(memory.context, batches=lambda: pytest.fail("samples were run"))
    found = TECHNIQUE.sketch(net, work(amount=0.34), memory.context)
    assert found is not None
    assert found[1]["a"].tolist() == full.tolist()
    rows = net.run((x,), keep=["r"])["r"].double().numpy()
    target = net(x)[0].double().numpy()
    seen = np.concatenate([rows[:, full], np.ones((5000, 1))], 1) if biased else rows[:, full]
    best = np.linalg.lstsq(seen, target, rcond=None)[0]
    made = found[0].by_name["b"].operator.state_dict()
    assert made["weight"].numpy() == pytest.approx(best[: full.sum()].T, abs=0.02)  # the ridge is 1e-3
    assert not biased or made["bias"].numpy() == pytest.approx(best[-1], abs=0.03)
    errors = [np.square(one(x)[0].numpy() - target).mean() for one in (found[0], cut(net, {"a": full}))]
    assert errors[0] < 0.6 * errors[1]


def test_without_a_fit_the_weights_stay() -> None:
    net = chain(values(3, 6))
    memory = Memory(net, [values(300, 4)])
    full = kept_channels(net, work(amount=0.5), memory.context)
    found = TECHNIQUE.sketch(net, work(amount=0.5, reestimate=False), memory.context)
    assert found is not None
    assert weights_key(found[0]) == weights_key(cut(net, full))


def test_transposed_layers_stay_as_in_the_full_form() -> None:
    up = op.ConvTranspose(values(4, 2, 2, 2), None, (2, 2), (0,) * 4, (0, 0), (1, 1), 1)
    nodes = [
        Node("x", "x", (), op.Input((1, 3, 5, 5))),
        Node("a", "a", ("x",), op.Conv(values(4, 3, 1, 1), None, (1, 1), (0,) * 4, (1, 1), 1)),
        Node("u", "u", ("a",), up),
    ]
    net = Network("n", nodes, ["u"])
    memory = Memory(net, [values(40, 3, 5, 5)])
    full = kept_channels(net, work(amount=0.5), memory.context)
    found = TECHNIQUE.sketch(net, work(amount=0.5), memory.context)
    assert found is not None
    assert weights_key(found[0]) == weights_key(cut(net, full))


def test_a_cut_that_runs_no_sample_needs_no_quick_form() -> None:
    net = chain(values(3, 6))
    assert TECHNIQUE.sketch(net, work(amount=0.5, criterion="l1", reestimate=False), Memory(net, None).context) is None
