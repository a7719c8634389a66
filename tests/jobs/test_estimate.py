"""The time of a job, measured by a process like its own; nothing of it stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import paths
from studio.core.errors import Cancelled, Refused
from studio.core.jobspec import JobSpec
from studio.core.plan import Plan, Step
from studio.jobs import _process
from studio.jobs._estimate import Estimate, measure
from studio.session import Session, open_session
from studio.session.training import measure_times, outlook, with_steps_of


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    folder = paths.resource("demo")
    few = folder / "crops_calibration.npz"
    plan = Plan(defaults=(Step("prune_weights", amount=0.5), Step("quantize")))
    session = open_session(
        folder / "parts.onnx", folder / "crops_test.npz", calibration=few, train=few, samples=50, plan=plan
    )
    session.cancel()
    yield session
    session.close()


def test_a_long_job_is_known_after_three_batches(session: Session) -> None:
    recipe = session.jobs.recipe((JobSpec("retrain", {"epochs": 1000}),))
    started = time.monotonic()
    found = measure(recipe)
    taken = time.monotonic() - started
    assert (found.batches, found.steps, found.whole) == (3, 3000, False)  # 216 samples make 3 batches an epoch
    assert 0 < found.begin <= taken
    assert found.rest > 2997 * 1e-4  # a batch takes longer than 0.1 ms
    assert found.seconds == found.begin + found.rest
    assert _process.find_unfinished() == []  # nothing stays, and no place of a job is taken
    job = _process.start(recipe)
    job.discard()


def test_a_job_of_one_batch_is_its_own_measure(session: Session) -> None:
    (found,) = measure_times(session, (JobSpec("retrain", {"epochs": 1, "batch_size": 200}),))
    assert found.whole
    assert (found.batches, found.steps, found.rest) == (1, 1, 0.0)


def test_it_ends_when_it_is_no_longer_wanted(session: Session) -> None:
    started = time.monotonic()
    with pytest.raises(Cancelled):
        measure(session.jobs.recipe((JobSpec("retrain", {"epochs": 1000}),)), stop=lambda: True)
    assert time.monotonic() - started < 5


def test_what_cannot_run_is_said_instead(session: Session) -> None:
    with pytest.raises(Refused, match="batch_size"):
        measure_times(session, (JobSpec("retrain", {"batch_size": 4096}),))


def test_time_of_a_recipe_is_that_of_all_its_jobs() -> None:
    assert sum(one.seconds for one in (Estimate(1.0, 4.0, 3, 9), Estimate(2.0, 0.0, 1, 1, whole=True))) == 7.0


def test_what_a_job_would_train_in_words(session: Session) -> None:
    spec = JobSpec("retrain", {"validation": 0.25, "batch_size": 50})
    found = outlook(session, (spec,))
    assert (found.layers, found.trained, found.held, found.batches) == (10, 180, 60, 3)
    assert found.steps == {"Sparsity (P50 %)": 10, "Quantize (Q8)": 10}
    assert "180 samples of crops_calibration.npz, 60 more for validation" in found.words()


def test_steps_that_a_job_keeps_are_those_that_layers_can_take(session: Session) -> None:
    first = session.graph.weighted[0].name
    plan = Plan(
        defaults=(Step("prune_channels", amount=0.25), Step("quantize")),
        layers={first: (Step("quantize", weight_bits=4),), "fc": ()},
    )
    held = with_steps_of(JobSpec("retrain"), plan, session.graph)
    assert held.layers == {"*": (Step("quantize"),), first: (Step("quantize", weight_bits=4),), "fc": ()}
    assert held.groups == {"*": (Step("prune_channels", amount=0.25),)}
    assert outlook(session, (held,)).steps["Quantize (Q8)"] == 8  # all but the first and fc
    nothing = with_steps_of(JobSpec("retrain"), Plan(), session.graph)
    assert outlook(session, (nothing,)).steps == {}  # not the session's plan
