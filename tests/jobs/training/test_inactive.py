"""Settings that a job calls without effect have none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.core import registry
from studio.core.plan import Plan, Step
from studio.core.settings import declared, validate
from studio.engine.engine import Engine
from tests.jobs.training.conftest import Runner

SHARED = Plan().with_default(Step("share_weights", bits=2))
PRUNED = Plan().with_default(Step("prune_weights", amount=0.5))
QUANTIZED = Plan().with_default(Step("quantize", weight_bits=4))
CASES: dict[str, tuple[Plan, dict[str, Any], set[str]]] = {
    "retrain": (PRUNED, {"optimizer": "adam"}, {"start", "ramp", "momentum"}),
    "distill": (Plan(), {"start": "fresh", "compare": False}, {"minimum", "multiple", "restore"}),
    "quantization_aware": (QUANTIZED, {"optimizer": "adam"}, {"momentum"}),
    "tune_centroids": (SHARED, {"optimizer": "adam"}, {"momentum"}),
}
OTHER = {"start": 0.9, "ramp": 0.2, "momentum": 0.1, "minimum": 7, "multiple": 8, "restore": False}


@pytest.mark.parametrize("job", CASES)
def test_a_setting_called_inactive_changes_nothing(job: str, engine: Engine, runner: Runner) -> None:
    plan, given, expected = CASES[job]
    given = {"epochs": 1, "batch_size": 36, "learning_rate": 0.01, **given}
    found = registry.find("jobs", job)
    inactive = found.inactive(validate(found.settings, given, job))
    assert set(inactive) == expected
    assert all(reason.endswith(".") for reason in inactive.values())
    before = runner.run(job, engine, plan, **given)
    after = runner.run(job, engine, plan, **{**given, **{name: OTHER[name] for name in inactive}})
    assert before.tensors.keys() == after.tensors.keys()
    for name, tensor in before.tensors.items():
        assert torch.equal(torch.from_numpy(tensor), torch.from_numpy(after.tensors[name])), name
    assert before.encodings == after.encodings


@pytest.mark.parametrize("job", CASES)
def test_all_matters_where_nothing_says_otherwise(job: str) -> None:
    found = registry.find("jobs", job)
    given = {"optimizer": "sgd", "schedule": "cubic", "width": 0.5}
    known = {one.name for one in declared(found.settings)}
    values = validate(found.settings, {n: v for n, v in given.items() if n in known}, job)
    assert found.inactive(values) == {}
