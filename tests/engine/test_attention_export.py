"""Exports with an attention stage: both files run on the demo's frames, or nothing is written."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from studio.attention import Stage
from studio.core import paths
from studio.core.errors import ExportError, PlanError
from studio.core.plan import Attention, Plan
from studio.core.step import Step
from studio.data.frames import open_frames
from studio.engine.attention_export import plan_attention
from studio.export.folder import ExportFolder
from studio.session import open_session
from studio.session.session import Session

DEMO = paths.resource("demo")
FRAMES = DEMO / "frames"


@pytest.fixture
def session() -> Iterator[Session]:
    opened = open_session(
        DEMO / "parts.onnx", DEMO / "crops_test.npz", calibration=DEMO / "crops_calibration.npz", samples=100
    )
    yield opened
    opened.close()


def with_attention(session: Session, attention: Attention) -> None:
    plan = replace(Plan(defaults=(Step("quantize"),)), attention=attention)
    session.set_plan(plan, "test")
    session.cancel()


def test_both_files_are_written_run_and_equal(session: Session, tmp_path: Path) -> None:
    with_attention(session, Attention("edge_density", {"threshold": 100}))
    manifest = session.export(tmp_path / "out", ("onnx",), frames=FRAMES)
    stage, pipeline = manifest["attention"]["files"]
    assert (stage["format"], pipeline["format"]) == ("attention", "pipeline")
    for row in (stage, pipeline):
        assert row["passed"]
        assert row["equal_to_python"] == row["frames"] == 140
        assert Path(row["path"]).stat().st_size == row["file_bytes"]
    assert pipeline["samples"] == 120
    assert pipeline["value"] > 0.9
    assert stage["value"] is None
    assert {"attention.onnx", "pipeline.onnx"} <= manifest["files"].keys()
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["attention"]["selector"] == "edge_density"


def test_the_snippet_runs(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_attention(session, Attention("edge_density"))
    manifest = session.export(tmp_path / "out", ("onnx",), frames=FRAMES)
    monkeypatch.chdir(tmp_path / "out")
    names = {"frame": open_frames(FRAMES).frame(0)}
    exec(manifest["attention"]["snippet"], names)
    assert names["outputs"][0].shape == (1, 6)


def test_without_frames_nothing_is_written(session: Session, tmp_path: Path) -> None:
    with_attention(session, Attention("edge_density"))
    with pytest.raises(ExportError, match="size of the frames is not known"):
        session.export(tmp_path / "out", ("onnx",))
    assert not (tmp_path / "out").exists()


def test_a_plan_without_attention_has_no_stage(session: Session, tmp_path: Path) -> None:
    assert plan_attention(None, None, session.network.input_shape, session.data.preprocess) is None


def test_full_and_impossible_crops_are_refused(session: Session) -> None:
    shape, preprocess = session.network.input_shape, session.data.preprocess
    with pytest.raises(ExportError, match="needs no attention stage"):
        plan_attention(Attention("full"), FRAMES, shape, preprocess)
    with pytest.raises(PlanError, match="margin"):
        plan_attention(Attention("edge_density", {"margin": 20}), FRAMES, shape, preprocess)


def test_a_file_that_differs_is_reported(session: Session, tmp_path: Path) -> None:
    """The graph searches as the plan says; the Python side is given another stage."""
    made = plan_attention(Attention("edge_density"), FRAMES, session.network.input_shape, session.data.preprocess)
    assert made is not None
    other = replace(made, stage=Stage.of("edge_density", {"channel": "blue"}, frame=(128, 128), size=(32, 32)))
    row = other.write(ExportFolder(tmp_path / "out"), None)["files"][0]
    assert not row["passed"]
    assert row["equal_to_python"] < 140
    assert "differs from Python" in row["notes"][0]


def test_the_pipeline_alone_is_enough(session: Session, tmp_path: Path) -> None:
    """Nothing but the file and a camera's frame: the answers are those of crop and model.onnx."""
    with_attention(session, Attention("edge_density"))
    session.export(tmp_path / "out", ("onnx",), frames=FRAMES)
    runner = onnxruntime.InferenceSession(str(tmp_path / "out" / "pipeline.onnx"))
    assert [i.name for i in runner.get_inputs()] == ["frame"]
    box, score, outputs = runner.run(None, {"frame": open_frames(FRAMES).frame(0)})
    assert box.dtype == np.int32
    assert score.shape == ()
    assert outputs.shape == (1, 6)
