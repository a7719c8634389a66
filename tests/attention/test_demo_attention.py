"""The bundled demo keeps its promises, and the selector finds real cells."""

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from studio.attention import attend
from studio.core import paths
from studio.core.metrics import top1
from studio.data import Preprocess
from studio.data import open as open_data
from studio.data.frames import open_frames
from studio.engine.attend import attend as attend_file

DEMO = paths.resource("demo")
PARTS = onnx.load(str(DEMO / "parts.onnx"))


def test_the_demo_is_small() -> None:
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) < 2_000_000


def test_the_network_is_a_small_plain_residual_network() -> None:
    kinds = [node.op_type for node in PARTS.graph.node]
    assert kinds.count("Add") == 3
    assert kinds.count("BatchNormalization") == kinds.count("Conv") == 9
    assert "Softmax" not in kinds
    assert "layer2.0.conv1.weight" in {t.name for t in PARTS.graph.initializer}
    assert PARTS.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert 20_000 < sum(int(np.prod(t.dims)) for t in PARTS.graph.initializer) < 60_000


def test_the_float_network_leaves_room_on_both_sides() -> None:
    data = open_data(DEMO / "crops_test.npz", input_shape=(1, 3, 32, 32))
    session = onnxruntime.InferenceSession(str(DEMO / "parts.onnx"))
    outputs = session.run(None, {"input": data.batch(np.arange(data.count))})[0]
    assert data.count == 900
    assert data.labels is not None
    assert 0.93 <= (top1(outputs) == data.labels).mean() <= 0.98


def test_the_network_carries_what_the_data_says() -> None:
    carried = {entry.key: json.loads(entry.value) for entry in PARTS.metadata_props}
    data = open_data(DEMO / "crops_test.npz", input_shape=(1, 3, 32, 32))
    assert tuple(carried["classes"]) == data.classes
    ours = Preprocess.from_json(carried["preprocess"])
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    assert np.array_equal(ours.normalise(picture, -1), data.preprocess.normalise(picture, -1))


def test_calibration_and_test_crops_are_different_pictures() -> None:
    sets = []
    for name in ("crops_test.npz", "crops_calibration.npz"):
        with np.load(DEMO / name) as found:
            blob, at = found["blob"], found["offsets"]
        sets.append({blob[a:b].tobytes() for a, b in itertools.pairwise(at)})
    assert not sets[0] & sets[1]


def test_attention_on_the_demo_end_to_end() -> None:
    found = attend_file(DEMO / "frames", "edge_density", {}, model=DEMO / "parts.onnx")
    centre = found["selectors"][0]
    assert found["frames"] == 140
    assert found["gate"]["without_class"] == 20
    assert found["hits"]["rate"] > 0.95
    assert centre["hits"]["rate"] < 0.15
    assert found["accuracy"]["with"] > 0.9
    assert found["accuracy"]["with"] > found["accuracy"]["full"]
    assert found["accuracy"]["with"] > found["accuracy"]["scaled"]
    assert found["macs"]["full"] == 16 * found["macs"]["scaled"] - 15 * 6 * 48  # the classifier runs once
    assert found["macs"]["stage1"] < 0.03 * found["macs"]["stage2"]


def test_the_gate_spares_most_empty_belts() -> None:
    found = attend_file(DEMO / "frames", "edge_density", {"threshold": 130}, crop=(32, 32))
    assert found["gate"]["with_class_awake"] >= 115
    assert found["gate"]["without_class_awake"] <= 8


class EverySixth:
    """A part of the frames, for speed."""

    def __init__(self, folder: Path) -> None:
        self._frames = open_frames(folder)
        self.count = (self._frames.count + 5) // 6

    def frame(self, i: int) -> np.ndarray:
        return self._frames.frame(6 * i)

    def boxes(self, i: int) -> list:
        return self._frames.boxes(6 * i)


@pytest.mark.parametrize("settings", [{}, {"channel": "colour", "reduce": 4}])
def test_white_blood_cells_are_found(shared: Path, settings: dict) -> None:
    """All 364 frames: 0.933 and 0.953 of the cells, the centre crop 0.103."""
    frames = EverySixth(shared / "data" / "attention" / "bccd_blood_cells")
    found = attend(frames, "edge_density", settings, crop=(256, 256), class_name="WBC", compare=("centre",))
    assert found["hits"]["rate"] > 0.88
    assert found["selectors"][0]["hits"]["rate"] < 0.25
    assert found["iou_mean"] > 0.45
    assert found["pixels_kept"] == pytest.approx(256 * 256 / (640 * 480))
