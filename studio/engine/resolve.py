"""Plan + graph -> which steps each layer really gets, with content keys: pure functions.

`resolve` decides on the graph of the original network which steps hold (defaults, replaced per
stage), lists defaults that a layer refuses, and raises for an explicit step that is refused.
`encode_work` carries those that encode weights over to the network that the rewrites made.
Nothing is computed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from studio.core.errors import PlanError, Refused
from studio.core.graph import Graph, Layer
from studio.core.plan import Plan, Step, Steps
from studio.core.step import one_a_stage
from studio.core.technique import ENCODES, REWRITES, Stage


@dataclass(frozen=True)
class Skipped:
    """A step that a layer cannot take: a default, or one inherited by a rewritten layer."""

    layer: str
    technique: str
    reason: str


@dataclass(frozen=True)
class LayerWork:
    """Encode steps of one layer. `keys[i]` is the content key of its encoding after `steps[i]`."""

    layer: Layer
    steps: Steps
    peers: tuple[tuple[str, ...], ...]  # per step: layers that decide together with this one
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Resolved:
    """What a plan means for the original network.

    `steps`: by weighted layer, of all stages, a group's among those of each of its layers.
    `rewrites`: by stage and target (a layer, for STRUCTURE a channel group).
    """

    steps: Mapping[str, Steps]
    rewrites: Mapping[Stage, Mapping[str, Step]]
    skipped: tuple[Skipped, ...]


def resolve(plan: Plan, graph: Graph) -> Resolved:
    """Steps of a plan on a graph.

    Raises PlanError for unknown layers and Refused for explicit steps that a layer cannot take.
    """
    check_names(plan, graph)
    skipped: list[Skipped] = []
    structure = _structure(plan, graph, skipped)
    steps = {}
    for layer in graph.weighted:
        cut = structure.get(str(layer.group))
        steps[layer.name] = (*((cut,) if cut else ()), *_accepted(plan, layer, skipped))
    rewrites: dict[Stage, Mapping[str, Step]] = {Stage.STRUCTURE: structure} if structure else {}
    for stage in REWRITES[1:]:
        found = {name: step for name, own in steps.items() for step in own if step.stage == stage}
        if found:
            rewrites[stage] = found
    return Resolved(steps, rewrites, tuple(skipped))


def encode_work(
    plan: Plan, resolved: Resolved, graph: Graph, origin: Mapping[str, str], weight_keys: Mapping[str, str]
) -> tuple[Mapping[str, LayerWork], tuple[Skipped, ...]]:
    """Work of every weighted layer of a rewritten network, and what its layers could not inherit.

    `origin`: the original's layer behind each of them; `weight_keys`: content key of its float weights.
    A factor `conv1/1` takes the steps of `conv1`, replaced per stage by its own.
    """
    skipped = _without_factor(plan, graph)
    accepted = {n.name: _inherited(plan, resolved, n, origin[n.name], skipped) for n in graph.weighted}
    work = {}
    for layer in graph.weighted:
        peers = tuple(_peers(step, accepted) for step in accepted[layer.name])
        keys = _keys(layer.name, accepted[layer.name], peers, weight_keys)
        work[layer.name] = LayerWork(layer, accepted[layer.name], peers, keys)
    return work, tuple(skipped)


def _inherited(plan: Plan, resolved: Resolved, layer: Layer, origin: str, skipped: list[Skipped]) -> Steps:
    stages = {step.stage: step for step in resolved.steps[origin] if step.stage in ENCODES}
    if layer.name != origin:
        stages |= {step.stage: step for step in plan.layers.get(layer.name, ())}
    kept = []
    for step in (stages[stage] for stage in sorted(stages) if stages[stage].technique):
        reason = step.found.refuses(layer, step.values)
        if reason is not None:
            skipped.append(Skipped(layer.name, str(step.technique), reason))
        elif step.stage in ENCODES:
            kept.append(step)
    return tuple(kept)


def _without_factor(plan: Plan, graph: Graph) -> list[Skipped]:
    """Steps of factors that the rewritten network does not have."""
    found = []
    for name, steps in plan.layers.items():
        layer = name.rpartition("/")[0]
        if name in graph or (f"{layer}/1" not in graph and layer not in graph):
            continue
        reason = f"{layer} is not factored." if layer in graph else f"{layer} has no factor of this number."
        found += [Skipped(name, str(step.technique), reason) for step in steps if step.technique]
    return found


def check_names(plan: Plan, graph: Graph) -> None:
    """Raise PlanError for a layer that is not there or holds no weights, and for two steps of one stage."""
    one_a_stage(plan.defaults, "plan: defaults")
    for name, steps in (*plan.layers.items(), *plan.groups.items()):
        one_a_stage(steps, f"plan: {name}")
    for name, steps in plan.layers.items():
        if is_factor(name, graph):
            if any(step.stage in REWRITES for step in steps):
                what = "a factor cannot be rewritten again."
                raise Refused(what, where=f"plan: {name}", remedy=f"Set the step on {name.rpartition('/')[0]}.")
            continue
        layer = graph.layer(name)
        if steps and not layer.weighted and any(s.technique for s in steps):
            raise Refused(f"a {layer.kind} has no weights.", where=f"plan: {name}", remedy="Remove its steps.")
    for name in plan.activations.layers:
        graph.layer(name)
    for name, steps in plan.groups.items():
        if graph.layer(name).group is None:
            kind = graph.layer(name).kind
            raise Refused(f"a {kind} is in no channel group.", where=f"plan: groups: {name}", remedy="Remove it.")
        for step in steps:
            if step.stage != Stage.STRUCTURE:
                what = f"'{step.technique}' does not act on channel groups."
                raise Refused(what, where=f"plan: groups: {name}", remedy="Set it under 'layers'.")


def is_factor(name: str, graph: Graph) -> bool:
    """True for `conv1/2` where `conv1` is a layer: what low rank makes of it."""
    layer, slash, number = name.rpartition("/")
    return bool(slash) and number.isdigit() and name not in graph and layer in graph and graph.layer(layer).weighted


def check_model(plan: Plan, graph: Graph, weights: str) -> str | None:
    """Raise PlanError for a plan made for another network; answer with a warning for other weights."""
    if not plan.model or "fingerprint" not in plan.model:
        return None
    if plan.model["fingerprint"] != graph.fingerprint:
        listed = plan.model.get("layers")
        theirs = list(map(str, listed)) if isinstance(listed, list) else []
        ours = signature(graph)
        first = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), len(theirs))
        there = theirs[first] if first < len(theirs) else "nothing"
        here = ours[first] if first < len(ours) else "nothing"
        what = (
            f"the plan was made for another network ({plan.model.get('name')}): it has {there} where {graph.name} has"
        )
        raise PlanError(f"{what} {here}.", where="plan: model", remedy="Open that network or remove 'model'.")
    if plan.model.get("weights") not in (None, weights):
        return "The plan was made for the same network with other weights; its numbers will differ."
    return None


def signature(graph: Graph) -> list[str]:
    """One line a layer: what the fingerprint is over, readable."""
    return [f"{n.name} ({n.kind} {'x'.join(map(str, n.weight_shape or n.output_shape))})" for n in graph.layers]


def canonical(plan: Plan, graph: Graph) -> Plan:
    """Return the same plan with every layer under its studio name (files' own names are accepted).

    A STRUCTURE step of a layer goes to its channel group, a group's to the group's first layer.
    Raises PlanError where the layers of one group have different ones, and for a layer under two names.
    """
    layers: dict[str, Steps] = {}
    cuts: dict[str, list[tuple[str, Step]]] = {}
    for name, steps in plan.layers.items():
        known = _known(name, graph)
        if known in layers:
            what = f"{known} has two entries, one by the file's own name."
            raise PlanError(what, where="plan: layers", remedy="Keep one of them.")
        own = [s for s in steps if s.stage == Stage.STRUCTURE]
        group = graph.layer(known).group if known in graph else None
        if own and group:
            cuts.setdefault(group, []).append((known, own[0]))
        if not steps or len(own) < len(steps):
            layers[known] = tuple(s for s in steps if s.stage != Stage.STRUCTURE)
        elif not group:
            layers[known] = steps  # refused by `check_names` with the reason
    for name, steps in plan.groups.items():
        group = str(graph.layer(name).group or name)
        cuts.setdefault(group, []).extend((name, step) for step in steps or (Step.off(Stage.STRUCTURE.name),))
    bits = {graph.layer(name).name: b for name, b in plan.activations.layers.items()}
    groups = {group: (_one_cut(group, wanted),) for group, wanted in cuts.items()}
    return replace(plan, layers=layers, groups=groups, activations=replace(plan.activations, layers=bits))


def with_step(plan: Plan, graph: Graph, name: str, step: Step) -> Plan:
    """Return a plan in which `step` takes its stage on a layer or factor, a STRUCTURE one on the layer's group.

    Raises PlanError for a layer that the network does not have.
    """
    known = _known(name, graph)
    group = graph.layer(known).group if step.stage == Stage.STRUCTURE and known in graph else None
    return plan.with_group_step(group, step) if group else plan.with_step(known, step)


def _known(name: str, graph: Graph) -> str:
    """Studio name of a layer, or the name of a factor."""
    return name if is_factor(name, graph) else graph.layer(name).name


def _one_cut(group: str, wanted: list[tuple[str, Step]]) -> Step:
    if len({step for _, step in wanted}) > 1:
        names = " and ".join(dict.fromkeys(name for name, _ in wanted))
        what = f"the channels of {names} are cut together, and the plan has different steps for them."
        raise PlanError(what, where=f"plan: groups: {group}", remedy="Keep one of them.")
    return wanted[0][1]


def _structure(plan: Plan, graph: Graph, skipped: list[Skipped]) -> dict[str, Step]:
    """Step of every channel group that has one, in graph order, refused defaults left out."""
    found: dict[str, Step] = {}
    default = next((s for s in plan.defaults if s.stage == Stage.STRUCTURE), None)
    for layer in graph.weighted:
        if layer.group != layer.name:
            continue
        own = next(iter(plan.groups.get(layer.name, ())), None)
        step = own or default
        if step is None or step.technique is None:
            continue
        reason = step.found.refuses(layer, step.values)
        if reason is None:
            found[layer.name] = step
        elif own is not None:
            raise Refused(reason, where=f"{layer.name}: {step.technique}", remedy="Remove the step or change it.")
        else:
            skipped.append(Skipped(layer.name, str(step.technique), reason))
    return found


def _accepted(plan: Plan, layer: Layer, skipped: list[Skipped]) -> Steps:
    kept = []
    own = plan.layers.get(layer.name, ())
    for step in plan.steps(layer.name):
        if step.stage == Stage.STRUCTURE:
            continue
        reason = step.found.refuses(layer, step.values)
        if reason is None:
            kept.append(step)
        elif step in own:
            raise Refused(reason, where=f"{layer.name}: {step.technique}", remedy="Remove the step or change it.")
        else:
            skipped.append(Skipped(layer.name, str(step.technique), reason))
    return tuple(kept)


def _peers(step: Step, accepted: Mapping[str, Steps]) -> tuple[str, ...]:
    if step.found.scope(step.values) != "global":
        return ()
    return tuple(name for name, steps in accepted.items() if step in steps)


def _keys(
    name: str, steps: Steps, peers: tuple[tuple[str, ...], ...], weight_keys: Mapping[str, str]
) -> tuple[str, ...]:
    keys = []
    text = weight_keys[name]
    for step, others in zip(steps, peers, strict=True):
        text += repr(step) + step.values.model_dump_json() + "".join(weight_keys[other] for other in others)
        keys.append(hashlib.sha256(text.encode()).hexdigest())
    return tuple(keys)
