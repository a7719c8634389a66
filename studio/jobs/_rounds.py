"""Channels that leave in rounds, with training between (Li et al. 2017, section 3.4), after the cubic schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from studio.core.plan import Plan
from studio.core.state import State
from studio.core.technique import Stage
from studio.engine.engine import Engine
from studio.engine.variant import rewrites_key
from studio.jobs._base import Task
from studio.jobs._masks import cubic
from studio.network.cost import describe
from studio.network.groups import ChannelGroup, groups_of
from studio.network.network import Network
from studio.techniques._channel_cut import cut_and_fitted, kept_after


class Rounds:
    """From round to round: how many channels of each part leave is the plan's, which ones the trained network's."""

    def __init__(self, task: Task) -> None:
        self._engine, self._plan, self._settings = task.engine, task.plan, task.settings
        self._groups = groups_of(task.engine.network)
        resolved = task.engine.resolve(task.plan)
        self._work = {name: step.values for name, step in resolved.rewrites[Stage.STRUCTURE].items()}
        self._made_for = {"rewrites": rewrites_key(resolved)}
        self._wanted = {name: self._gone(name, kept) for name, kept in task.engine.kept(task.plan).items()}
        self._kept = {name: np.ones(len(self._groups[name].classes), np.bool_) for name in self._wanted}
        self._network = task.engine.network

    def epochs(self, i: int) -> int:
        """Epochs of a round; what cannot be shared out evenly goes to the last."""
        each, rest = divmod(self._settings.epochs, self._settings.rounds)
        return int(each + (rest if self._last(i) else 0))

    def cut(self, i: int) -> Plan:
        """Cut the network as far as round i goes; returns the plan that is to be trained then."""
        share = cubic((i + 1) / self._settings.rounds, 0.0)
        engine = Engine(self._network, describe(self._network), self._engine.sources)
        context = engine.rewrite_context(self._plan.calibration)
        more = {name: self._more(name, share) for name in self._kept}
        now = kept_after(self._network, more, self._work, context)
        self._network = cut_and_fitted(self._network, now, self._work, context)
        for name, flags in now.items():
            self._kept[name][self._kept[name]] = flags
        state = State(_tensors(self._network), kept=self._kept, made_for=self._made_for)
        plan = self._plan if self._last(i) else self._plan.without_stages(Stage.SPARSE, Stage.GRID, Stage.CODE)
        return replace(plan, state=self._engine.add_state(state))

    def trained(self, state: State) -> None:
        """Go on from what a round has trained."""
        plan = replace(self._plan, state=self._engine.add_state(state))
        self._network = self._engine.variant(plan).network

    def _last(self, i: int) -> bool:
        return bool(i == self._settings.rounds - 1)

    def _more(self, name: str, share: float) -> list[int]:
        """How many channels of each part of a group leave now, in the order of the parts as they are now."""
        places = np.flatnonzero(self._kept[name])
        found = []
        for part in groups_of(self._network)[name].parts:
            original = _part_of(self._groups[name], int(places[part[0]]))
            goal = int(share * self._wanted[name][original] + 1e-9)
            found.append(goal - (len(self._groups[name].parts[original]) - len(part)))
        return found

    def _gone(self, name: str, kept: np.ndarray) -> list[int]:
        """How many channels of each part of a group leave by the plan."""
        return [int((~kept[part]).sum()) for part in self._groups[name].parts]


def _part_of(group: ChannelGroup, place: int) -> int:
    return next(i for i, part in enumerate(group.parts) if place in part)


def _tensors(network: Network) -> Mapping[str, Any]:
    """Weights and biases of a network, as a state has them."""
    return {
        f"{node.name}.{name}": tensor.detach().numpy().copy()
        for node in network.nodes
        for name, tensor in node.operator.named_parameters()
    }
