"""Weights behind a cut fitted again to what the original network computes, without labels.

One closed-form least-squares step for each layer, in graph order: inputs from the network as it is
cut and fitted so far, targets from the original (He et al. 2017, Channel Pruning for Accelerating
Very Deep Neural Networks; as there, where the output is added to a tensor that is known by then,
the target is what the sum still lacks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from studio.core.errors import DataError
from studio.network.channels import channels_of
from studio.network.cut_operators import Kept
from studio.network.network import Network, Node
from studio.techniques._features import Take, fitted, rows_of
from studio.techniques._input_moments import innermost
from studio.techniques._rewrite import Tick, quiet

BYTES = 1 << 28
"""Memory for tensors of all samples (both networks'); fewer samples are taken where one needs much."""
LEAST = 8
"""Samples that are taken in any case."""
RIDGE = 0.03
"""Pull towards the weights before the fit, in shares of the inputs' mean square."""


def reestimate(
    original: Network, cut: Network, left: Mapping[str, Kept], batches: Sequence[Tensor], ridge: float = RIDGE,
    tick: Tick = quiet,
) -> Network:  # fmt: skip
    """Return the cut network with weights and biases fitted; nodes that no cut reaches are the same objects.

    `left`: what stays of each of the original's tensors; `batches`: samples of the network's input,
    (N, ...) float32 each. Grouped and depthwise convolutions are fitted group by group; transposed
    ones stay as they are. Raises DataError naming the layer that gets NaN or infinite values.
    """
    samples = innermost(torch.cat(list(batches))[: _affordable(original)])
    return cut.with_nodes(_Pass(original, cut, left, ridge, tick).nodes(samples))


def _affordable(network: Network) -> int:
    """Samples whose largest tensors fit into the memory, four at a time; one where the batch is not free."""
    if not network.free_batch:
        return 1
    largest = max(torch.Size(shape).numel() for shape in channels_of(network).shapes.values())
    return max(LEAST, BYTES // (4 * 4 * largest))


@dataclass
class _Pass:
    """Both networks side by side, node by node; tensors that nothing reads any more are dropped."""

    original: Network
    cut: Network
    left: Mapping[str, Kept]
    ridge: float
    tick: Tick
    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)

    def nodes(self, samples: Tensor) -> list[Node]:
        """Run all nodes; return those of the cut network, fitted."""
        last = {name: i for i, node in enumerate(self.cut.nodes) for name in node.inputs}
        found = []
        with torch.no_grad():
            for i, (old, new) in enumerate(zip(self.original.nodes, self.cut.nodes, strict=True)):
                self.tick("Fitting the weights behind the cut", i, len(self.cut.nodes))
                found.append(self._node(old, new, samples))
                for name in set(new.inputs):
                    if last[name] == i:
                        del self.before[name], self.after[name]
        return found

    def _node(self, old: Node, new: Node, samples: Tensor) -> Node:
        inputs = [samples] if old.kind == "input" else [self.before[name] for name in old.inputs]
        value = self.before[old.name] = old.operator(*inputs)
        if old.operator is new.operator and all(self.after[name] is self.before[name] for name in new.inputs):
            self.after[new.name] = value
            return new
        if new.kind in ("conv", "linear") and self.after[new.inputs[0]] is not self.before[new.inputs[0]]:
            rows = rows_of(new, self.after[new.inputs[0]], partial(self._target, new))
            if not (_finite(rows.inputs) and _finite(rows.targets)):
                what = f"layer '{new.name}' reads or gives NaN or infinite values on the calibration samples."
                raise DataError(what, remedy="Check the preprocessing (scale, mean, std) and the model's weights.")
            new = replace(new, operator=fitted(new.operator, rows, self.ridge))
        self.after[new.name] = new.operator(*(self.after[name] for name in new.inputs))
        return new

    def _target(self, node: Node, take: Take) -> Tensor:
        """What the layer should give: its original output, or what a sum with a known tensor still lacks."""
        target = self._original(node.name, take)
        readers = self.cut.consumers(node.name)
        if len(readers) == 1 and readers[0].kind == "add" and node.name not in self.cut.outputs:
            for other in set(readers[0].inputs) - {node.name}:
                if other in self.after and self._alike(node.name, other):
                    return target + self._original(other, take) - take(self.after[other])
        return target

    def _alike(self, name: str, other: str) -> bool:
        """True for tensors of one shape that are cut along the same axis."""
        axes = self.left[name].axis == self.left[other].axis
        return axes and self.left[name].after[1:] == self.left[other].after[1:] == self.after[other].shape[1:]

    def _original(self, name: str, take: Take) -> Tensor:
        """Original tensor at the places that are taken, without the channels that are cut."""
        kept, rows = self.left[name], take(self.before[name])
        return rows if kept.axis is None else rows[:, torch.from_numpy(kept.along(kept.axis))]


def _finite(rows: Tensor) -> bool:
    """True without NaN and infinite values; the sum is enough where it is finite itself, and costs less."""
    return bool(torch.isfinite(rows.sum()) or torch.isfinite(rows).all())
