"""Mean and spread of every changed layer's output are brought back before training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.core.plan import Plan, Step
from studio.engine.engine import Engine
from studio.jobs._samples import split
from studio.jobs._settings import TrainingSettings
from studio.jobs._student import Student

PRUNED = Plan().with_default(Step("prune_weights", amount=0.5))
COARSE = Plan().with_default(Step("quantize", weight_bits=3))


def moments(values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    rows = values.detach().movedim(1, 0).flatten(1).numpy()
    return rows.mean(1), rows.std(1)


@pytest.mark.parametrize("plan", [PRUNED, COARSE])
def test_outputs_have_the_mean_and_spread_that_they_had(engine: Engine, plan: Plan) -> None:
    samples = split(engine, TrainingSettings())
    x = samples.some
    student = Student(engine, plan, quantized=plan is COARSE, activations=False)
    names = ["conv1", "conv2", "conv3", "fc"]
    wanted = engine.network.run((x,), keep=names)
    before, _ = moments(student.model(x, names)["conv3"])
    student.begin(samples, restored=True)
    found = student.model(x, names)
    for name in names:
        (mean, spread), (goal_mean, goal_spread) = moments(found[name]), moments(wanted[name])
        assert np.allclose(mean, goal_mean, atol=1e-3 * goal_spread.max())
        ratio = goal_spread / spread
        assert np.allclose(ratio, 1, atol=1e-3) or ratio.max() > 1  # a channel with nearly nothing left has a limit
    assert not np.allclose(before, moments(wanted["conv3"])[0], atol=1e-2)
    for name in names:  # what is stored is still exactly what is used
        assert np.array_equal(student.encoding(name).decode(), student.model.used(name).detach().numpy())


def test_a_network_that_nothing_changes_stays(engine: Engine) -> None:
    student = Student(engine, Plan(), quantized=False)
    before = {name: tensor.detach().clone() for name, tensor in student.model.tensors.items()}
    student.begin(split(engine, TrainingSettings()), restored=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in student.model.tensors.items())
