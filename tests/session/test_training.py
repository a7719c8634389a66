"""What a job would do, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.core import paths
from studio.core.jobspec import JobSpec
from studio.core.plan import Plan, Step
from studio.session import Session, open_session
from studio.session.training import outlook


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    folder = paths.resource("demo")
    few = folder / "crops_calibration.npz"
    plan = Plan(defaults=(Step("prune_weights", amount=0.5), Step("quantize", weight_bits=2)))
    session = open_session(
        folder / "parts.onnx", folder / "crops_test.npz", calibration=few, train=few, samples=50, plan=plan
    )
    session.cancel()
    yield session
    session.close()


def test_rounding_after_a_float_training_is_not_said_to_be_trained_with(session: Session) -> None:
    def words(job: str) -> str:
        return outlook(session, (JobSpec(job),)).words()

    kept = "with Sparsity (P50 %) on 10 layers"
    assert f"in float, {kept}. Rounding comes after: Quantize (Q2) on 10 layers; " in words("retrain")
    assert f"{kept}, Quantize (Q2) on 10 layers. On 216 samples" in words("quantization_aware")
    session.set_plan(Plan(defaults=(Step("share_weights"),)), "shared")
    assert "in float. Rounding comes after: Weight sharing (S5) on 10 layers; " in words("retrain")
    session.set_plan(Plan(defaults=(Step("prune_weights"),)), "in float")
    assert "float" not in words("retrain")


def test_classes_without_a_sample_are_told(session: Session, tmp_path: Path) -> None:
    with np.load(paths.resource("demo") / "crops_calibration.npz") as found:
        np.savez(tmp_path / "few.npz", **{**found, "y": np.where(found["y"] == 1, 0, found["y"])})
    model = paths.resource("demo") / "parts.onnx"
    few = open_session(model, paths.resource("demo") / "crops_test.npz", train=tmp_path / "few.npz", samples=50)
    few.cancel()
    try:
        assert "Classes without a sample: 1; training unlearns them." in outlook(few, (JobSpec("retrain"),)).words()
        assert "without a sample" not in outlook(session, (JobSpec("retrain"),)).words()
    finally:
        few.close()


def test_training_data_without_labels_is_told(session: Session, tmp_path: Path) -> None:
    with np.load(paths.resource("demo") / "crops_calibration.npz") as found:
        np.savez(tmp_path / "bare.npz", **{name: found[name] for name in found.files if name not in ("y", "classes")})
    model = paths.resource("demo") / "parts.onnx"
    bare = open_session(model, paths.resource("demo") / "crops_test.npz", train=tmp_path / "bare.npz", samples=50)
    bare.cancel()
    try:
        assert "They have no labels" in outlook(bare, (JobSpec("retrain"),)).words()
        assert "labels" not in outlook(session, (JobSpec("retrain"),)).words()
    finally:
        bare.close()
