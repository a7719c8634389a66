"""Frames with boxes: folders and the .npz form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import StudioError
from studio.data.frames import Box, open_frames


def test_boxes_are_clipped_and_degenerate_ones_dropped(tmp_path: Path) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    boxes = [
        {"xyxy": [-3, 2, 8, 40], "label": "x"},
        {"xyxy": [5, 5, 5, 9], "label": "x"},
        {"xyxy": [25, 1, 30, 4], "label": "y"},
        {"xyxy": [1.5, 2, 3, 4], "coco80": 7},
    ]
    (tmp_path / "annotations.json").write_text(json.dumps([{"file": "a.png", "a": 1, "b": 2, "boxes": boxes}]))
    frames = open_frames(tmp_path)
    assert frames.boxes(0) == [Box((0.0, 2.0, 8.0, 10.0), "x"), Box((1.5, 2.0, 3.0, 4.0), "7")]
    assert (frames.count, frames.dropped, frames.size(0)) == (1, 2, (10, 20))
    assert frames.boxes(0, "7") == [Box((1.5, 2.0, 3.0, 4.0), "7")]
    assert frames.classes == ("7", "x")
    assert frames.frame(0).shape == (10, 20, 3)
    assert frames.labels is None


def test_npz_of_frames(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    corners = np.array([[1, 2, 3, 4], [-1] * 4, [0, 0, 99, 8]])
    np.savez(tmp_path / "f.npz", frames=rows, boxes=corners, y=[1, 0, 1], classes=["gear", "nut"])
    frames = open_frames(tmp_path / "f.npz")
    assert [frames.boxes(i) for i in range(3)] == [
        [Box((1.0, 2.0, 3.0, 4.0), "nut")], [], [Box((0.0, 0.0, 9.0, 8.0), "nut")],
    ]  # fmt: skip
    assert np.array_equal(frames.frame(1), rows[1])
    assert frames.labels is not None
    assert frames.labels.tolist() == [1, 0, 1]
    assert frames.classes == ("gear", "nut")


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros(3)}, "no frames"),
        ({"frames": np.zeros((2, 4, 4), np.uint8), "boxes": np.zeros((2, 4), int)}, "'frames' is uint8"),
        ({"frames": np.zeros((2, 4, 4, 3), np.uint8), "boxes": np.zeros((1, 4), int)}, "for 2 frames"),
        ({"frames": np.zeros((2, 4, 4, 3), np.uint8), "boxes": np.zeros((2, 4))}, "float64"),
    ],
)
def test_frames_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], word: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(StudioError, match=word) as caught:
        open_frames(tmp_path / "f.npz")
    assert "f.npz" in str(caught.value)
    assert caught.value.remedy


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no pictures"):
        open_frames(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(StudioError, match=r"a\.png: the picture cannot be decoded"):
        open_frames(tmp_path)


@pytest.mark.shared
def test_blood_cells(shared: Path) -> None:
    frames = open_frames(shared / "data/attention/bccd_blood_cells")
    assert (frames.count, frames.classes) == (364, ("Platelets", "RBC", "WBC"))
    assert sum(len(frames.boxes(i, "WBC")) == 1 for i in range(364)) == 344
    assert sum(len(frames.boxes(i)) for i in range(364)) + frames.dropped == 4888
    assert frames.frame(0).shape == (480, 640, 3)
