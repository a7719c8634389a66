"""A trained LeNet as the studio holds it: a plan with a state, and the `model.ecs` that it writes and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _lenet import FC, TEST, Kind, module
from _lenet_prune import Lean
from _lenet_share import Shared
from torch import Tensor

from studio.core.encoding import Dense, Sparse
from studio.core.opened import Opened
from studio.core.plan import Activations, Plan
from studio.core.state import State, steps_key
from studio.core.step import Step
from studio.engine.engine import Engine
from studio.engine.exporting import export_plan
from studio.engine.opening import engine_of, read_network
from studio.engine.variant import rewrites_key


def engine_for(kind: Kind, weights: list[Tensor], biases: list[Tensor]) -> Engine:
    """Engine on the float network and the test set."""
    network, _ = read_network(module(kind, weights, biases), input_shape=(1, 1, 28, 28))
    return engine_of(network, Opened(kind.name, str(TEST)), preprocess={"scale": 1 / 255})


def plan_of(engine: Engine, lean: Lean, shared: list[Shared]) -> Plan:
    """Units cut, weights pruned, shared and coded, tensors in float; with the state that training decided."""
    kind = lean.kind
    groups = {
        name: (Step("prune_channels", amount=_rounded(1 - len(units) / shape[0], 0.95), scope="layer"),)
        for name, units, shape in zip(kind.layers, lean.units, kind.shapes, strict=True)
        if len(units) < shape[0]
    }
    layers = {
        name: (
            Step("prune_weights", amount=_rounded(1 - float(mask.mean()), 0.99)),
            Step("share_weights", bits=one.encoding().width, centroid_bits=16),
            Step("huffman"),
        )
        for name, mask, one in zip(kind.layers, lean.masks, shared, strict=True)
    }
    plan = Plan(layers=layers, groups=groups, activations=Activations(bits=32))
    return replace(plan, state=engine.add_state(_state(engine, plan, lean, shared)))


def _rounded(share: float, most: float) -> float:
    return min(most, round(share, 2))


def _state(engine: Engine, plan: Plan, lean: Lean, shared: list[Shared]) -> State:
    """What training decided: units that stay, masks, indices and values; biases."""
    tensors: dict[str, np.ndarray] = {}
    encodings: dict[str, dict[str, bytes]] = {}
    kept = {}
    for k, (name, one, shape) in enumerate(zip(lean.kind.layers, shared, lean.kind.shapes, strict=True)):
        weight, mask = _whole(lean, k, one.weight().numpy()), _whole(lean, k, lean.masks[k].numpy()) != 0
        book = replace(one.encoding(), indices=_whole(lean, k, one.indices.numpy().astype(np.uint8)))
        tensors |= {f"{name}.weight": weight, f"{name}.bias": lean.biases[k].numpy()}
        steps = plan.layers[name]
        encodings[name] = {
            steps_key(steps[:1]): Sparse(mask, Dense(weight)).pack(),
            steps_key(steps[:2]): Sparse(mask, book).pack(),
        }
        if name in plan.groups:
            kept[name] = np.isin(np.arange(shape[0]), lean.units[k].numpy())
    made_for = {"rewrites": rewrites_key(engine.resolve(plan))}
    return State(tensors=tensors, kept=kept, encodings=encodings, made_for=made_for)


def _whole(lean: Lean, k: int, weight: np.ndarray) -> np.ndarray:
    """Weight with the pixels that nothing reads any more: the network's input keeps its size."""
    if k or lean.kind is not FC:
        return weight
    found = np.zeros((len(weight), 784), weight.dtype)
    found[:, lean.pixels.numpy()] = weight
    return found


def write(engine: Engine, plan: Plan, name: str, out: Path) -> dict[str, Any]:
    """Export `model.ecs`, read it back, run it on the test set; the export's row, with the float network's value."""
    manifest = export_plan(engine, plan, out, ("packed",), {"name": name}, force=True)
    return {**manifest["exports"][0], "float": manifest["before"]["value"]}
