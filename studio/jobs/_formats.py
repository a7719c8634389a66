"""Formats of activations in training: the same tensors rounded at the same places as in the integer program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from studio.jobs._forms import NARROWEST, WIDEST
from studio.jobs._rounding import Levels, rounded
from studio.jobs._trainable import Trainable
from studio.lowering import forms
from studio.lowering.build import tensor_shapes
from studio.lowering.formats import HIGH, LOW, requantized, unify
from studio.lowering.program import Program, TensorFormat
from studio.lowering.units import Unit, fuse, split
from studio.network.network import Network

STAYS = frozenset("relu max_pool concat reshape transpose slice pad gather expand".split())
"""Kinds that give nothing but levels of the format that they read, so that nothing is left to round."""
_COPY = requantized("")


class Formats:
    """One learned scale and a fixed zero point for all tensors that share a format."""

    def __init__(self, network: Network, program: Program) -> None:
        """`program`: the network's, lowered with the ranges to start from."""
        self._integer = frozenset(op.output for op in program.operations if op.integer) & network.by_name.keys()
        shapes = tensor_shapes(network)
        self._units = _units(network, self._integer)
        self._kinds = {unit.output: forms.kind(unit.main, shapes) for unit in self._units}
        self._classes, self._copies = unify(self._units, self._integer, self._kinds)
        self._members = self._classes.members()
        found = formats_by_tensor(program)
        self.tensors: dict[str, Tensor] = {}
        self.scales: list[Tensor] = []
        self._roots = {root: self._class(root, found[members[0]]) for root, members in self._members.items()}

    def _class(self, root: str, format: TensorFormat) -> tuple[Tensor, Tensor, Levels]:
        """Start, learned factor and levels of one format."""
        start, factor = torch.tensor(format.scale), torch.ones(())
        if self._classes.fixed_format(root) is None:
            self.scales.append(factor.requires_grad_())
        self.tensors |= {f"{root}:start": start, f"{root}:factor": factor}
        return start, factor, Levels(LOW - format.zero_point, HIGH - format.zero_point)

    def attach(self, model: Trainable) -> None:
        """Let the model round where the integer program does."""
        for unit in self._units:
            if unit.output not in self._integer:
                continue
            if self._kinds[unit.output] not in STAYS:
                model.outputs[unit.output] = self._rounding(unit.output)
            for name in unit.inputs:
                if (unit.output, name) in self._copies:
                    model.inputs[unit.main.name, name] = self._rounding(requantized(name))
                elif name not in self._integer:
                    model.inputs[unit.main.name, name] = self._rounding(name)

    def _rounding(self, tensor: str) -> Callable[[Tensor], Tensor]:
        start, factor, levels = self._roots[self._classes.root(tensor)]
        return lambda x: rounded(x, start * factor, levels)

    def bias(self, layer: str, steps: Callable[[], Tensor]) -> Callable[[Tensor], Tensor] | None:
        """Rounding of a layer's bias to integers of `s_in * s_w`, straight through; None where it stays float.

        With few bits these steps are coarse. `steps()`: scales of the weights.
        """
        unit = next((u for u in self._units if u.main.name == layer and u.output in self._integer), None)
        if unit is None:
            return None
        start, factor, _ = self._roots[self._classes.root(unit.inputs[0])]

        def rounding(bias: Tensor) -> Tensor:
            with torch.no_grad():
                step = start * factor * steps()
                lost = torch.round(bias / step) * step - bias
            return bias + lost

        return rounding

    def freeze(self, program: Program) -> None:
        """Take the scales of a program as they are: those that the export will have."""
        found = formats_by_tensor(program)
        with torch.no_grad():
            for root, (start, factor, _) in self._roots.items():
                start.fill_(found[self._members[root][0]].scale)
                factor.fill_(1)

    def limit(self) -> None:
        """Bring scales that a step moved too far back."""
        for factor in self.scales:
            factor.clamp_(NARROWEST, WIDEST)

    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Range (low, high) by tensor from which lowering chooses these very formats."""
        found: dict[str, tuple[float, float]] = {}
        for root, members in self._members.items():
            start, factor, levels = self._roots[root]
            scale = float((start * factor).detach())
            if self._classes.fixed_format(root) is None:
                found |= {name.removesuffix(_COPY): (levels.low * scale, levels.high * scale) for name in members}
        return found


def formats_by_tensor(program: Program) -> dict[str, TensorFormat]:
    """Format of the integer form of every node, and of requantized copies under their own names."""
    found = {}
    for op in program.operations:
        if op.output_format is not None:
            found[op.inputs[0] if op.kind == "quantize" else op.output] = op.output_format
    return found


def _units(network: Network, integer: frozenset[str]) -> tuple[Unit, ...]:
    fused = fuse(network)
    return tuple(part for unit in fused for part in ((unit,) if unit.output in integer else split(unit)))
