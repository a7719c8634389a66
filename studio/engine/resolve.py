"""Plan + graph -> what each layer really gets, with content keys: a pure function.

`resolve` decides which steps hold (defaults, replaced per stage), lists defaults that a layer
refuses, and raises for an explicit step that is refused. Nothing is computed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.errors import PlanError, Refused
from studio.core.graph import Graph, Layer
from studio.core.plan import Plan, Step, Steps


@dataclass(frozen=True)
class Skipped:
    """A default that a layer refuses."""

    layer: str
    technique: str
    reason: str


@dataclass(frozen=True)
class LayerWork:
    """What one layer gets. `keys[i]` is the content key of its encoding after `steps[i]`."""

    layer: Layer
    steps: Steps
    peers: tuple[tuple[str, ...], ...]  # per step: layers that decide together with this one
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Resolved:
    """Work items of all weighted layers, in graph order."""

    work: Mapping[str, LayerWork]
    skipped: tuple[Skipped, ...]


def resolve(plan: Plan, graph: Graph, weight_keys: Mapping[str, str]) -> Resolved:
    """Work items for a plan. `weight_keys`: content key of each weighted layer's float weights.

    Raises PlanError for unknown layers and Refused for explicit steps that a layer cannot take.
    """
    check_names(plan, graph)
    skipped: list[Skipped] = []
    accepted = {layer.name: _accepted(plan, layer, skipped) for layer in graph.weighted}
    work = {}
    for layer in graph.weighted:
        peers = tuple(_peers(step, accepted) for step in accepted[layer.name])
        keys = _keys(layer.name, accepted[layer.name], peers, weight_keys)
        work[layer.name] = LayerWork(layer, accepted[layer.name], peers, keys)
    return Resolved(work, tuple(skipped))


def check_names(plan: Plan, graph: Graph) -> None:
    """Raise PlanError for a layer that the network does not have or that holds no weights."""
    for name, steps in plan.layers.items():
        layer = graph.layer(name)
        if steps and not layer.weighted and any(s.technique for s in steps):
            raise Refused(f"a {layer.kind} has no weights.", where=f"plan: {name}", remedy="Remove its steps.")
    for name in plan.activations.layers:
        graph.layer(name)
    for name, steps in plan.groups.items():
        graph.layer(name)
        if steps:
            what = f"'{steps[0].technique}' does not act on channel groups."
            raise Refused(what, where=f"plan: groups: {name}", remedy="Set it under 'layers'.")


def check_model(plan: Plan, graph: Graph, weights: str) -> str | None:
    """Raise PlanError for a plan made for another network; answer with a warning for other weights."""
    if not plan.model or "fingerprint" not in plan.model:
        return None
    if plan.model["fingerprint"] != graph.fingerprint:
        theirs = [str(name) for name in plan.model.get("layers", [])]
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
    """Return the same plan with every layer under its studio name (files' own names are accepted)."""
    from dataclasses import replace

    layers = {graph.layer(name).name: steps for name, steps in plan.layers.items()}
    bits = {graph.layer(name).name: b for name, b in plan.activations.layers.items()}
    return replace(plan, layers=layers, activations=replace(plan.activations, layers=bits))


def _accepted(plan: Plan, layer: Layer, skipped: list[Skipped]) -> Steps:
    kept = []
    own = plan.layers.get(layer.name, ())
    for step in plan.steps(layer.name):
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
