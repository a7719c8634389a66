"""Every shipped preset is a plan that the bundled demo takes, with far fewer bytes and little lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from studio.core import paths
from studio.core.plan import Plan
from studio.engine.engine import FLOAT
from studio.session import Session, demo

PRESETS = sorted(file.stem for file in paths.resource("presets").glob("*.json"))


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


def test_the_presets_of_the_interface_are_there() -> None:
    assert PRESETS == ["deep-compression", "int4-weights", "int8", "structured-int8"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_shrinks_the_demo_and_keeps_its_accuracy(session: Session, name: str) -> None:
    plan = Plan.load(paths.resource("presets") / f"{name}.json")
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.model is None
    plan = replace(plan, calibration=session.plan.calibration)
    engine = session.engine
    result = engine.measure(plan, 4)  # the quick form where rounding is learned
    assert 3 * result.cost.flash_bytes < engine.cost(FLOAT).flash_bytes
    assert result.delta is not None
    assert result.delta > -0.05
