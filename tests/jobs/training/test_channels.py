"""Cut channels stay away while a network trains, and what training decided is not cut again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from studio.core.plan import Plan, Step
from studio.engine.engine import Engine
from tests.jobs.training.conftest import Runner

SETTINGS = {"epochs": 2, "batch_size": 54, "learning_rate": 0.02}
CUT = Plan().with_default(Step("prune_channels", amount=0.5, scope="layer", criterion="l1"))


def shapes(engine: Engine, plan: Plan) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in engine.encodings(plan).items()}


def test_cut_channels_stay_away(engine: Engine, runner: Runner) -> None:
    before = engine.measure(CUT).value
    state = runner.run("retrain", engine, CUT, **SETTINGS)
    plan = replace(CUT, state=engine.add_state(state))
    assert shapes(engine, plan) == shapes(engine, CUT)
    assert shapes(engine, plan)["conv3"] == (4, 4, 3, 3)
    assert {name: int(kept.sum()) for name, kept in state.kept.items()} == {"conv1": 4, "conv3": 4}
    assert engine.measure(plan).value > before
    assert engine.unused(plan) == ()
    for name, one in engine.encodings(plan).items():
        assert np.array_equal(one.decode(), state.tensors[f"{name}.weight"])


def test_decided_channels_are_cut_without_choosing_again(engine: Engine, runner: Runner) -> None:
    state = runner.run("retrain", engine, CUT, **{**SETTINGS, "epochs": 1})
    other = {name: np.roll(kept, 1) for name, kept in state.kept.items()}
    plan = replace(CUT, state=engine.add_state(replace(state, kept=other)))
    assert engine.kept(plan) == other
    assert shapes(engine, plan) == shapes(engine, CUT)
    without_data = Engine(engine.network, engine.graph, {})
    without_data.add_state(state)
    alone = replace(plan, state=state.id, defaults=CUT.defaults)
    assert shapes(without_data, alone) == shapes(engine, CUT)


def test_integers_are_trained_behind_a_cut(engine: Engine, runner: Runner) -> None:
    plan = CUT.with_default(Step("prune_weights", amount=0.3)).with_default(Step("quantize", weight_bits=4))
    state = runner.run("quantization_aware", engine, plan, **SETTINGS)
    after = replace(plan, state=engine.add_state(state))
    assert engine.unused(after) == ()
    assert shapes(engine, after) == shapes(engine, CUT)
    assert engine.measure(after).value > engine.measure(plan).value - 0.02
