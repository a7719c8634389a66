"""Samples that never reach a layer: every technique still gives finite weights, and the guessed range is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import studio.data
from studio.core.plan import Plan, Step
from studio.core.state import State
from studio.engine.engine import Engine
from studio.engine.exporting import export_plan
from studio.engine.variant import rewrites_key
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.cost import describe
from studio.network.network import Network, Node

INT8 = Step("quantize")
STEPS = [
    Step("prune_channels", amount=0.5),
    *(
        Step("prune_channels", amount=0.5, criterion=c)
        for c in ("l1", "apoz", "mean_activation", "taylor", "similarity")
    ),
    Step("low_rank"),
    Step("equalize"),
    Step("quantize", bias_correction=True),
    Step("quantize", weight_bits=1),
    Step("quantize", weight_bits=2, levels="power_of_two"),
    Step("share_weights", bits=2),
    Step("share_weights", limit="error", error=0.2, rounding="learned"),
]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """`b` is behind a ReLU that never lets anything pass, and has no bias: its outputs are all zero."""
    generator = torch.Generator().manual_seed(0)

    def conv(out: int, into: int) -> torch.Tensor:
        return torch.randn((out, into, 3, 3), generator=generator)

    shape = {"stride": (1, 1), "pads": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    nodes = [
        Node("x", "x", (), op.Input((1, 3, 6, 6))),
        Node("a", "a", ("x",), op.Conv(-conv(8, 3).abs(), None, **shape)),
        Node("ra", "ra", ("a",), plain.Relu()),
        Node("b", "b", ("ra",), op.Conv(conv(8, 8), None, **shape)),
        Node("rb", "rb", ("b",), plain.Relu()),
        Node("c", "c", ("rb",), op.Conv(conv(4, 8), torch.ones(4), **shape)),
        Node("pool", "pool", ("c",), plain.GlobalAveragePool()),
        Node("flat", "flat", ("pool",), plain.Reshape((4,))),
    ]
    network = Network("silent", nodes, ["flat"])
    x = np.random.default_rng(0).uniform(0.1, 1, (40, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(40) % 4)
    data = studio.data.open(tmp_path / "data.npz", input_shape=(1, 3, 6, 6))
    return Engine(network, describe(network), {"evaluation": data, "calibration": data})


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_step_on_silent_layers_gives_finite_weights_and_says_what_it_guessed(
    engine: Engine, step: Step, tmp_path: Path
) -> None:
    plan = Plan(defaults=(step,) if step.stage == INT8.stage else (step, INT8))
    found = engine.encodings(plan)
    assert all(np.isfinite(encoding.decode()).all() for encoding in found.values())
    manifest = export_plan(engine, plan, tmp_path / "out", ("onnx", "packed"), {"name": "silent"})
    for row in manifest["exports"]:
        assert row["passed"]
        guessed = {note.partition(":")[0].partition("/")[0] for note in row["notes"] if "only zeros" in note}
        assert guessed == {"a", "b", *(["c"] if step.technique == "low_rank" else [])}  # c/1 has no bias either
        assert any("--calibration" in note for note in row["notes"])


def test_a_layer_that_training_silenced_needs_no_other_samples(engine: Engine, tmp_path: Path) -> None:
    plan = Plan(defaults=(INT8,))
    dense = engine.base.encoder.dense
    tensors = {f"{name}.weight": dense[name].values * (name != "c") for name in dense}
    tensors["c.bias"] = np.zeros(4, np.float32)
    state = State(tensors, made_for={"rewrites": rewrites_key(engine.resolve(plan))})
    plan = replace(plan, state=engine.add_state(state))
    row = export_plan(engine, plan, tmp_path / "out", ("packed",), {"name": "silent"})["exports"][0]
    said = {note.partition(":")[0]: note for note in row["notes"] if "only zeros" in note}
    assert "--calibration" in said["a"]
    assert "learning rate" in said["c"]
    assert "--calibration" not in said["c"]
