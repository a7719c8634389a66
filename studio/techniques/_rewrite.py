"""What a technique that rewrites the network may look at (stages STRUCTURE, FACTOR, EQUALIZE)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from studio.core.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from studio.core.graph import Graph
    from studio.network.network import Network


Tick = Callable[[str, int, int], None]


def nothing_known(key: str) -> None:
    """Memory that is empty."""


def quiet(title: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class RewriteContext:
    """Beside the network to rewrite.

    `original`: the folded network before any rewrite, `graph` that of the network handed in.
    `scores(layer, criterion)`: importance (channels,) by a registered criterion, taken on the original.
    `batches()`: calibration samples of the network's input, (N, ...) float32 each; raises DataError
    where there is no data. `remember(key, compute)`: the value of `compute()`, kept under a content
    key so that a slider that comes back finds it; `recall(key)`: that value, or None where it was not
    computed yet. `kept`: channels, bool (channels,) by channel group,
    that training has decided: they are neither scored nor chosen again. `tick(title, done, total)` tells
    how far work over a second is, and raises Cancelled where the user wants it to end.
    """

    original: Network
    graph: Graph
    scores: Callable[[str, str], np.ndarray]
    batches: Callable[[], Sequence[Tensor]]
    remember: Callable[[str, Callable[[], Any]], Any]
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    tick: Tick = quiet
    recall: Callable[[str], Any] = nothing_known


class RewriteTechnique(Technique, Protocol):
    """A pure function from network to network; all its targets at once, so that they can be decided together."""

    def rewrite(self, network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
        """Return the rewritten network; `network` stays as it was.

        `work`: settings by layer name, for STRUCTURE by channel group. New nodes of `conv1` are named
        `conv1/1`, `conv1/2`; the last one of them keeps what reads the layer's output supplied under
        its old name by being renamed in the readers' inputs and the network's outputs.
        """
