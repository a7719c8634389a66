"""The measurement on frames made by hand: hits, IoU, gate and accuracy worked out on paper."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from studio.attention import Classifier, Stage, attend, observe, summarise
from studio.attention._evaluate import overlap
from studio.core.errors import Cancelled, DataError, PlanError
from studio.core.metrics import wilson


@dataclass
class Box:
    xyxy: tuple[float, float, float, float]
    label: str


class Made:
    """Frames and boxes in lists."""

    def __init__(self, frames: list[np.ndarray], boxes: list[list[Box]]) -> None:
        self._frames, self._boxes = frames, boxes
        self.count = len(frames)

    def frame(self, i: int) -> np.ndarray:
        return self._frames[i]

    def boxes(self, i: int) -> list[Box]:
        return self._boxes[i]


def grey(height: int = 40, width: int = 40, value: int = 50) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def patch(top: int, left: int) -> np.ndarray:
    frame = grey()
    frame[top : top + 8, left : left + 8] = ((np.indices((8, 8)) // 2).sum(0) % 2 * 200)[..., None]
    return frame


THREE = Made(
    [grey(), grey(value=90), grey(value=120)],
    [[Box((15, 15, 25, 25), "nut")], [Box((26, 15, 36, 25), "gear")], []],
)
"""A centre crop of 20 (10..30) holds the first box wholly, 4/10 of the second; the third frame is empty."""


def brightness(pictures: np.ndarray) -> np.ndarray:
    """A network that says gear (0) for pictures brighter than 70, else nut (1)."""
    bright = pictures.reshape(len(pictures), -1).mean(1) > 70
    return np.stack([bright, ~bright], 1).astype(np.float32)


NETWORK = Classifier((20, 20), 1000, brightness, ("gear", "nut"), lambda size: size[0] * size[1], brightness)


def test_overlap_by_hand() -> None:
    assert overlap((10, 10, 30, 30), (15, 15, 25, 25)) == (1.0, 0.25)
    assert overlap((10, 10, 30, 30), (26, 15, 36, 25)) == (0.4, 40 / (400 + 100 - 40))
    assert overlap((0, 0, 5, 5), (5, 0, 9, 5)) == (0.0, 0.0)


def test_centre_by_hand() -> None:
    found = attend(THREE, "centre", crop=(20, 20), compare=())
    assert found["hits"]["rate"] == 0.5
    assert found["hits"]["frames"] == 2
    assert found["hits"]["interval"] == list(wilson(0.5, 2))
    assert found["iou_mean"] == pytest.approx((0.25 + 40 / 460) / 2)
    assert found["pixels_kept"] == 0.25
    assert found["frames"] == 3
    assert found["skipped_rate"] == 0
    assert found["selectors"] == []


def test_a_looser_hit_counts_more() -> None:
    assert attend(THREE, "centre", crop=(20, 20), hit=0.4, compare=())["hits"]["rate"] == 1


def test_without_a_network_accuracy_and_its_macs_are_null() -> None:
    found = attend(THREE, "edge_density", crop=(20, 20))
    assert found["accuracy"] is None
    assert found["accuracy_note"] == "No network was given."
    assert found["macs"]["stage2"] is None
    assert found["macs"]["full"] is None
    assert found["macs"]["stage1"] > 0
    assert [row["selector"] for row in found["selectors"]] == ["centre", "full", "scaled"]


def test_accuracy_and_macs_beside_the_baselines() -> None:
    found = attend(THREE, "centre", crop=(20, 20), classifier=NETWORK)
    assert found["accuracy"]["with"] == 1.0
    assert found["accuracy"]["full"] == 1.0
    macs = {"stage1": 0, "stage2": 1000, "full": 1600, "full_reason": None, "scaled": 1000, "behind_gate": 1000}
    assert found["macs"] == macs
    full = next(row for row in found["selectors"] if row["selector"] == "full")
    assert full["macs"]["stage2"] == 1600
    assert full["pixels_kept"] == 1


def test_full_is_null_with_a_reason_where_the_network_cannot() -> None:
    fixed = replace(NETWORK, full_macs=None, run_full=None, full_reason="It runs at 20x20 only.")
    found = attend(THREE, "centre", crop=(20, 20), classifier=fixed)
    assert found["accuracy"]["full"] is None
    assert found["accuracy"]["full_reason"] == "It runs at 20x20 only."
    assert found["macs"]["full"] is None


def test_a_network_without_the_class_has_macs_but_no_accuracy() -> None:
    found = attend(THREE, "centre", crop=(20, 20), classifier=replace(NETWORK, classes=("cat", "dog")))
    assert found["accuracy"] is None
    assert found["accuracy_note"] == "The network knows no class gear, nut."
    assert found["macs"]["stage2"] == 1000


def test_one_class_leaves_the_other_frames_for_the_gate() -> None:
    found = attend(THREE, "centre", crop=(20, 20), class_name="gear", classifier=NETWORK)
    assert found["hits"] == {"rate": 0.0, "threshold": 0.9, "interval": list(wilson(0.0, 1)), "frames": 1}
    assert found["gate"]["with_class"] == 1
    assert found["gate"]["without_class"] == 2
    assert found["accuracy"]["with"] == 1.0


def test_the_gate_by_hand() -> None:
    frames = Made(
        [patch(16, 16), grey(), patch(4, 4)], [[Box((16, 16, 24, 24), "nut")], [], [Box((4, 4, 12, 12), "nut")]]
    )
    found = attend(frames, "edge_density", {"threshold": 5}, crop=(16, 16), classifier=replace(NETWORK, size=(16, 16)))
    assert found["hits"]["rate"] == 1
    assert found["skipped_rate"] == pytest.approx(1 / 3)
    assert found["gate"] == {
        "threshold": 5, "with_class": 2, "with_class_awake": 2, "without_class": 1, "without_class_awake": 0,
    }  # fmt: skip
    assert found["macs"]["behind_gate"] == pytest.approx(found["macs"]["stage1"] + 1000 * 2 / 3)


def test_what_the_gate_sleeps_through_is_missed_and_wrong() -> None:
    frames = Made([patch(16, 16)], [[Box((16, 16, 24, 24), "gear")]])
    network = replace(NETWORK, size=(16, 16), run=lambda x: np.tile([1.0, 0.0], (len(x), 1)))
    awake = attend(frames, "edge_density", crop=(16, 16), classifier=network)
    asleep = attend(frames, "edge_density", {"threshold": 2048}, crop=(16, 16), classifier=network)
    assert (awake["hits"]["rate"], awake["accuracy"]["with"]) == (1.0, 1.0)
    assert (asleep["hits"]["rate"], asleep["accuracy"]["with"]) == (0.0, 0.0)


def test_the_box_covered_best_counts() -> None:
    frames = Made([grey()], [[Box((0, 0, 5, 5), "nut"), Box((12, 12, 20, 20), "nut")]])
    stage = Stage.of("centre", {}, frame=(40, 40), size=(20, 20))
    row = observe(frames, [stage])[0].rows[0]
    assert row.truth == (12, 12, 20, 20)
    assert row.covered == 1


def test_frames_of_two_sizes_are_measured_each_at_its_own() -> None:
    frames = Made([grey(), grey(20, 80)], [[Box((15, 15, 25, 25), "nut")], [Box((35, 5, 45, 15), "nut")]])
    found = attend(frames, "centre", crop=(20, 20), classifier=NETWORK)
    assert found["hits"]["rate"] == 1
    assert found["pixels_kept"] == pytest.approx(0.25)
    assert found["macs"]["full"] == 1600


def test_no_frame_with_the_class_gives_null_not_an_error() -> None:
    found = attend(Made([grey()], [[]]), "centre", crop=(20, 20), classifier=NETWORK)
    assert found["hits"]["rate"] is None
    assert found["iou_mean"] is None
    assert found["accuracy_note"] == "No frame holds the class."


def test_settings_of_the_result_are_complete() -> None:
    found = attend(THREE, "edge_density", {"stride": 8}, crop=(20, 20), compare=())
    assert found["settings"]["stride"] == 8
    assert found["settings"]["channel"] == "both"


def test_the_measurement_can_be_summarised_again() -> None:
    stages = [Stage.of("centre", {}, frame=(40, 40), size=(20, 20))]
    watched = observe(THREE, stages)
    assert summarise(watched, hit=0.4)["hits"]["rate"] == 1
    assert summarise(watched, hit=0.9)["hits"]["rate"] == 0.5


def test_mistakes_speak() -> None:
    with pytest.raises(DataError, match="no box is labelled 'WBC'") as error:
        attend(THREE, "centre", crop=(20, 20), class_name="WBC")
    assert "gear, nut" in str(error.value)
    with pytest.raises(DataError, match="no crop size"):
        attend(THREE, "centre")
    with pytest.raises(DataError, match="no frames"):
        attend(Made([], []), "centre", crop=(20, 20))


def test_progress_and_cancel() -> None:
    seen: list[int] = []
    attend(THREE, "centre", crop=(20, 20), compare=(), progress=lambda _, done, total: seen.append(done * 10 + total))
    assert seen == [13, 23, 33]
    with pytest.raises(Cancelled):
        attend(THREE, "centre", crop=(20, 20), cancelled=lambda: True)


def test_a_misspelt_selector_is_named_before_anything_else() -> None:
    with pytest.raises(PlanError, match="unknown selector 'edge_densty'"):
        attend(THREE, "edge_densty")
    with pytest.raises(PlanError, match="strid"):
        attend(THREE, "edge_density", {"strid": 2})


def test_a_crop_larger_than_the_frame_is_the_frame_and_is_not_resized() -> None:
    found = attend(THREE, "centre", crop=(4000, 4000), compare=())
    assert found["pixels_kept"] == 1
    assert found["macs"]["stage1"] == 0
