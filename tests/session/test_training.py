"""What a job would do, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def words_on(folder: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """What a retraining of the demo on these arrays would do, in words."""
    np.savez(folder / "train.npz", **arrays)
    demo = paths.resource("demo")
    session = open_session(demo / "parts.onnx", demo / "crops_test.npz", train=folder / "train.npz", samples=50)
    session.cancel()
    try:
        return outlook(session, (JobSpec("retrain"),)).words()
    finally:
        session.close()


def test_classes_and_labels_that_are_missing_are_told(session: Session, tmp_path: Path) -> None:
    with np.load(paths.resource("demo") / "crops_calibration.npz") as found:
        arrays = dict(found)
    few = words_on(tmp_path, arrays | {"y": np.where(arrays["y"] == 1, 0, arrays["y"])})
    bare = words_on(tmp_path, {name: array for name, array in arrays.items() if name not in ("y", "classes")})
    whole = outlook(session, (JobSpec("retrain"),)).words()
    assert "Classes without a sample: 1; training unlearns them." in few
    assert "without a sample" not in whole
    assert "They have no labels" in bare
    assert "labels" not in whole
