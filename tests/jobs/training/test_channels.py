"""Cut channels stay away while a network trains, and what training decided is not cut again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.settings import validate
from studio.engine.engine import Engine
from studio.jobs._base import Task
from studio.jobs._rounds import Rounds
from studio.jobs.retrain import RetrainSettings
from tests.jobs.training.conftest import Killed, Memory, Runner, killer, often

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


ROUNDS = {"epochs": 3, "rounds": 3, "batch_size": 90, "learning_rate": 0.02}


def test_channels_leave_in_rounds(engine: Engine, runner: Runner) -> None:
    state = runner.run("retrain", engine, CUT, **ROUNDS)
    plan = replace(CUT, state=engine.add_state(state))
    assert shapes(engine, plan) == shapes(engine, CUT)
    assert {name: int(kept.sum()) for name, kept in state.kept.items()} == {"conv1": 4, "conv3": 4}
    assert engine.measure(plan).value > 0.85
    assert [entry["step"] for entry in state.about["curve"]] == [0, 6, 12, 18]
    assert runner.reports[-1].step == runner.reports[-1].steps == 18
    assert engine.unused(plan) == ()


def test_each_round_cuts_the_trained_network_as_far_as_the_cubic_schedule(engine: Engine) -> None:
    """4 of 8 channels leave: by a third of the way 1 - (2/3)^3 = 0.70 of them, by two thirds 0.96."""
    values = validate(RetrainSettings, ROUNDS, "retrain")
    rounds = Rounds(Task(engine, CUT, values, lambda report: None, Memory(), lambda: None))
    left = []
    for i in range(3):
        plan = rounds.cut(i)
        left.append(shapes(engine, plan)["conv3"])
        state = engine.state(plan)
        assert state is not None
        rounds.trained(state)
    assert left == [(6, 6, 3, 3), (5, 5, 3, 3), (4, 4, 3, 3)]


def test_a_killed_run_in_rounds_gives_the_same_channels(engine: Engine) -> None:
    plan = CUT.with_default(Step("prune_weights", amount=0.4))
    wanted = Runner().run("retrain", engine, plan, schedule="cubic", **ROUNDS)
    memory = Memory(often(2))
    for at in (8, 7):
        with pytest.raises(Killed):
            Runner().run("retrain", engine, plan, memory, killer(at), schedule="cubic", **ROUNDS)
    found = Runner().run("retrain", engine, plan, memory, schedule="cubic", **ROUNDS)
    assert found.id == wanted.id
    assert found.about["curve"] == wanted.about["curve"]
    after = replace(plan, state=engine.add_state(found))
    for one in engine.encodings(after).values():
        assert int((one.decode() == 0).sum()) == int(0.4 * one.decode().size)


def test_rounds_that_cannot_be_are_refused(engine: Engine, runner: Runner) -> None:
    with pytest.raises(Refused, match="epochs"):
        runner.run("retrain", engine, CUT, epochs=2, rounds=3)
    with pytest.raises(Refused, match="cuts no channels"):
        runner.run("retrain", engine, Plan(), epochs=4, rounds=3)
