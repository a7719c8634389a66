"""Tuning shared values: values move, members and zeros stay, bytes do not grow, accuracy recovers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from studio.core.encoding import Codebook, Coded, innermost
from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.engine.engine import Engine
from tests.jobs.training.conftest import Killed, Memory, Runner, killer, often

SETTINGS = {"epochs": 3, "batch_size": 54, "learning_rate": 0.005}


def shared(centroid_bits: int = 8, **more: object) -> Plan:
    plan = Plan().with_default(Step("prune_weights", amount=0.4))
    return plan.with_default(Step("share_weights", bits=2, centroid_bits=centroid_bits, **more))


def book(encoding: object) -> Codebook | None:
    inner = innermost(encoding)  # type: ignore[arg-type]
    return inner if isinstance(inner, Codebook) else None


@pytest.mark.parametrize("centroid_bits", [8, 32])
def test_values_move_and_members_stay(engine: Engine, runner: Runner, centroid_bits: int) -> None:
    plan = shared(centroid_bits)
    before = engine.encodings(plan)
    state = runner.run("tune_centroids", engine, plan, **SETTINGS)
    after = replace(plan, state=engine.add_state(state))
    assert engine.unused(after) == ()
    found = engine.encodings(after)
    assert any(book(one) for one in found.values())
    for name, one in found.items():
        old, new = book(before[name]), book(one)
        assert (old is None) == (new is None)
        assert np.array_equal(one.decode() == 0, before[name].decode() == 0)
        assert one.bits() <= before[name].bits()
        if old is not None and new is not None:
            kept = one.decode() != 0
            assert np.array_equal(old.indices[kept], new.indices[kept])
            assert not np.array_equal(old.centroids, new.centroids)
    assert engine.measure(after).value > engine.measure(plan).value


def test_reassigned_weights_choose_again_but_zeros_stay(engine: Engine, runner: Runner) -> None:
    plan = shared()
    state = runner.run("tune_centroids", engine, plan, reassign=True, **SETTINGS)
    found = engine.encodings(replace(plan, state=engine.add_state(state)))
    before = engine.encodings(plan)
    moved = 0
    for name, one in found.items():
        assert np.array_equal(one.decode() == 0, before[name].decode() == 0)
        old, new = book(before[name]), book(one)
        if old is not None and new is not None:
            moved += int((old.indices != new.indices)[one.decode() != 0].sum())
    assert moved > 0


def test_a_code_lies_over_the_tuned_values(engine: Engine, runner: Runner) -> None:
    plan = shared().with_default(Step("huffman"))
    state = runner.run("tune_centroids", engine, plan, **{**SETTINGS, "epochs": 1})
    after = replace(plan, state=engine.add_state(state))
    assert all(isinstance(one, Coded) for one in engine.encodings(after).values())
    assert engine.unused(after) == ()


def test_a_killed_run_gives_the_same_values(engine: Engine) -> None:
    for reassign in (False, True):
        wanted = Runner().run("tune_centroids", engine, shared(), reassign=reassign, **SETTINGS)
        memory = Memory(often(3))
        for at in (7, 5):
            with pytest.raises(Killed):
                Runner().run("tune_centroids", engine, shared(), memory, killer(at), reassign=reassign, **SETTINGS)
        found = Runner().run("tune_centroids", engine, shared(), memory, reassign=reassign, **SETTINGS)
        assert found.id == wanted.id


def test_a_plan_that_shares_nothing_is_refused(engine: Engine, runner: Runner) -> None:
    with pytest.raises(Refused, match="shares"):
        runner.run("tune_centroids", engine, Plan().with_default(Step("quantize")))
