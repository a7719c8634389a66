"""An incremental preview equals a cold run bit for bit, over random sequences of edits, undo included."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.engine.cache import ActivationCache
from studio.engine.engine import Engine
from studio.engine.evaluator import Evaluator
from studio.session import demo, open_session

SEQUENCES = 70  # for each of three networks: 210 in all
EDITS = 4
CHUNKS = 2


def open_case(name: str, shared: Path) -> Any:
    if name == "demo":
        return demo.open_demo()
    models, data = shared / "data" / "models", shared / "data" / "data"
    if name == "ic_resnet8":
        return open_session(models / "mlperftiny_ic_resnet8.onnx", data / "cifar10_test_a5k_jpeg.npz", samples=100)
    return open_session(models / "kws_dscnn_alibaba.onnx", data / "kws_mfcc_a500.npz", samples=100)


def edit(plan: Plan, layers: list[str], history: list[Plan], draw: random.Random) -> Plan:
    layer = draw.choice(layers)
    kind = draw.randrange(6)
    if kind == 0 and len(history) > 1:
        return history[draw.randrange(len(history))]  # undo
    if kind == 1:
        return plan.with_step(layer, Step.off("GRID"))
    if kind == 2:
        return plan.without(layer, Stage.SPARSE)
    if kind == 3:
        return plan.with_step(layer, Step("prune_weights", amount=draw.choice([0.1, 0.5, 0.9])))
    if kind == 4:
        return plan.with_activation(layer, draw.choice([8, 32, None]))
    return plan.with_step(layer, Step("quantize", weight_bits=draw.randint(2, 8), per_channel=draw.random() < 0.7))


def cold(engine: Engine, plan: Plan) -> np.ndarray:
    """Nothing known: a new evaluator with an empty cache that keeps nothing."""
    assert engine.evaluator is not None
    fresh = Evaluator(engine.evaluator.dataset, cache=ActivationCache(budget=0))
    return fresh.outputs(engine.program(plan), CHUNKS)[0]


@pytest.mark.parametrize("name", ["demo", "ic_resnet8", "kws_dscnn"])
def test_incremental_equals_cold(name: str, shared: Path) -> None:
    session = open_case(name, shared)
    session.cancel()
    engine = session.engine
    assert engine.evaluator is not None
    layers = [layer.name for layer in engine.graph.weighted]
    for seed in range(SEQUENCES):
        draw = random.Random(seed)
        plan = Plan(defaults=(Step("quantize"),))
        history = [plan]
        for _ in range(EDITS):
            plan = edit(plan, layers, history, draw)
            history.append(plan)
            found = engine.evaluator.outputs(engine.program(plan), CHUNKS, focus=draw.choice(layers))[0]
        assert found.tobytes() == cold(engine, plan).tobytes(), f"sequence {seed}: {plan.to_json()}"
    session.close()


def test_the_cache_keeps_to_its_budget_and_still_serves_hits() -> None:
    session = demo.open_demo()
    session.cancel()
    engine = session.engine
    assert engine.evaluator is not None
    budget = 3_000_000
    small = Evaluator(engine.evaluator.dataset, cache=ActivationCache(budget=budget))
    for bits in (8, 4, 2):
        plan = Plan(defaults=(Step("quantize", weight_bits=bits),))
        found = small.outputs(engine.program(plan), 4)[0]
        assert 0 < small.cache.bytes <= budget
        assert found.tobytes() == small.outputs(engine.program(plan), 4)[0].tobytes()
    session.close()
