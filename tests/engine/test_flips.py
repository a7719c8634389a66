"""Flipped answers, counted by hand on six samples, and on the demo against its accuracies."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.plan import Plan, Step
from studio.engine.flips import ClassChange, Flip, compare, flips
from studio.session import demo


def test_each_change_is_lost_won_or_other() -> None:
    indices = np.array([10, 11, 12, 13, 14, 15])
    labels = np.array([0, 0, 1, 1, 2, 2])
    before = np.array([0, 0, 1, 0, 1, 2])
    after = np.array([0, 1, 1, 1, 0, 2])
    found = compare(indices, labels, before, after)
    assert found.samples == 6
    assert found.lost == (Flip(11, 0, 0, 1),)
    assert found.won == (Flip(13, 1, 0, 1),)
    assert found.other == (Flip(14, 2, 1, 0),)
    assert found.classes == (
        ClassChange(0, 2, 1.0, 0.5),
        ClassChange(2, 2, 0.5, 0.5),
        ClassChange(1, 2, 0.5, 1.0),
    )


def test_without_labels_every_changed_answer_is_lost() -> None:
    found = compare(np.arange(3), None, np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert (found.lost, found.won, found.other) == ((Flip(2, None, 1, 0),), (), ())
    assert found.classes == (ClassChange(1, 2, 1.0, 0.5), ClassChange(0, 1, 1.0, 1.0))


def test_flips_of_the_demo_are_the_difference_of_its_accuracies() -> None:
    session = demo.open_demo()
    session.cancel()
    plan = Plan(defaults=(Step("quantize", weight_bits=2),))
    found = flips(session.engine, plan, 4)
    result = session.engine.measure(plan, 4)
    assert found.samples == result.samples == 200
    assert result.delta == pytest.approx((len(found.won) - len(found.lost)) / 200)
    labels = session.engine.evaluator.dataset.labels
    assert all(flip.truth == labels[flip.index] == flip.before != flip.after for flip in found.lost)
    session.close()
