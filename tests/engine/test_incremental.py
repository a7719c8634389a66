"""An incremental preview equals a cold run bit for bit, over random sequences of edits, undo included."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.technique import Stage
from studio.engine.cache import ActivationCache
from studio.engine.engine import Engine
from studio.engine.evaluator import Evaluator
from studio.engine.resolve import with_step
from studio.session import demo, open_session

SEQUENCES = 70  # for each of three networks: 210 in all
EDITS = 4
REWRITING = 5
"""One sequence of so many changes the network too, and is compared with a new engine."""
CHUNKS = 2


def open_case(name: str, shared: Path) -> Any:
    if name == "demo":
        return demo.open_demo()
    models, data = shared / "data" / "models", shared / "data" / "data"
    if name == "ic_resnet8":
        return open_session(models / "mlperftiny_ic_resnet8.onnx", data / "cifar10_test_a5k_jpeg.npz", samples=100)
    return open_session(models / "kws_dscnn_alibaba.onnx", data / "kws_mfcc_a500.npz", samples=100)


def edit(plan: Plan, engine: Engine, history: list[Plan], draw: random.Random, rewriting: bool) -> Plan:
    """Another plan; the same one where the layer refuses the step."""
    layer = draw.choice(engine.graph.weighted).name
    kind = draw.randrange(9)
    if kind == 0 and len(history) > 1:
        return history[draw.randrange(len(history))]  # undo
    if kind == 1:
        return plan.with_step(layer, Step.off("GRID"))
    if kind == 2:
        return plan.without(layer, draw.choice([Stage.SPARSE, Stage.FACTOR, Stage.EQUALIZE, Stage.CODE]))
    if kind == 3:
        return plan.with_activation(layer, draw.choice([8, 32, None]))
    if kind == 4:
        return plan.with_step(layer, Step("quantize", weight_bits=draw.randint(1, 8), per_channel=draw.random() < 0.7))
    steps = [
        Step("prune_weights", amount=draw.choice([0.1, 0.5, 0.9])),
        Step("share_weights", bits=draw.randint(1, 6)),
        Step("huffman"),
    ]
    rewrites = [
        Step("equalize"),
        Step("low_rank", keep=draw.choice([0.3, 0.6]), data_aware=draw.random() < 0.3),
        Step("prune_channels", amount=draw.choice([0.2, 0.5]), criterion="l1", reestimate=draw.random() < 0.2),
        Step.off("STRUCTURE"),
    ]
    wanted = with_step(plan, engine.graph, layer, draw.choice(rewrites if rewriting and draw.random() < 0.7 else steps))
    with suppress(Refused):
        engine.resolve(wanted)
        return wanted
    return plan


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
    engine.quick_first = True  # cuts and factors leave quick forms behind, which must not show in the end
    assert engine.evaluator is not None
    layers = [layer.name for layer in engine.graph.weighted]
    seen: set[Stage] = set()
    for seed in range(SEQUENCES):
        draw, rewriting = random.Random(seed), seed % REWRITING == 0
        plan = Plan(defaults=(Step("quantize"),))
        history = [plan]
        for _ in range(EDITS):
            plan = edit(plan, engine, history, draw, rewriting)
            history.append(plan)
            engine.evaluator.outputs(engine.program(plan), CHUNKS, focus=draw.choice(layers))
        engine.variant(plan, full=True)
        found = engine.evaluator.outputs(engine.program(plan), CHUNKS)[0]
        other = Engine(engine.network, engine.graph, engine.sources) if rewriting else engine
        assert found.tobytes() == cold(other, plan).tobytes(), f"sequence {seed}: {plan.to_json()}"
        seen |= {step.stage for steps in engine.resolve(plan).steps.values() for step in steps}
    assert seen == set(Stage) - {Stage.KERNEL}
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
