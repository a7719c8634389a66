"""Edge density against a slow, independent computation, and on pictures where the answer is known."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from studio.attention import Selection, Stage
from studio.core import registry
from studio.core.errors import PlanError


def slow(frame: np.ndarray, window: tuple[int, int], s: dict[str, int], channel: str) -> Selection:
    """Box and score by loops over pixels and places, straight from the description of the settings."""
    d = s["reduce"]
    height, width = frame.shape[0] // d, frame.shape[1] // d
    planes = np.zeros((height, width, 3), int)
    for y, x in itertools.product(range(height), range(width)):
        planes[y, x] = frame[y * d : y * d + d, x * d : x * d + d].reshape(-1, 3).astype(int).sum(0)
    luma = (77 * planes[..., 0] + 150 * planes[..., 1] + 29 * planes[..., 2]) // 256
    views = {"luma": [(luma, 1)], "colour": [(planes.max(2) - planes.min(2), 1)], "red": [(planes[..., 0], 1)]}
    views["both"] = [(luma, 1), (planes.max(2) - planes.min(2), 2)]
    edges = np.zeros((height, width), int)
    for (plane, weight), y, x in itertools.product(views[channel], range(1, height - 1), range(1, width - 1)):
        size = abs(plane[y, x + 1] - plane[y, x - 1]) + abs(plane[y + 1, x] - plane[y - 1, x])
        edges[y, x] += weight * max(0, size - s["floor"] * d * d)
    inner = [(n - 2 * s["margin"]) // d for n in window]
    step = max(1, s["stride"] // d)
    starts = [sorted({*range(0, n - i + 1, step), n - i}) for n, i in zip((height, width), inner, strict=True)]
    best, place, area = -1, (0, 0), 0
    for y, x in itertools.product(*starts):
        total = area = 0
        for level in range(1, s["levels"] + 1):
            h, w = (-(-n * level // s["levels"]) for n in inner)
            top, left = y + (inner[0] - h) // 2, x + (inner[1] - w) // 2
            total += int(edges[top : top + h, left : left + w].sum())
            area += h * w
        if total > best:
            best, place = total, (y, x)
    corner = []
    for axis in (0, 1):
        rim = (window[axis] - inner[axis] * d) // 2
        corner.append(min(max(0, place[axis] * d - rim), frame.shape[axis] - window[axis]))
    score = 16 * best // (area * d * d) - 16 * int(edges.sum()) // (height * width * d * d)
    return Selection((corner[1], corner[0], corner[1] + window[1], corner[0] + window[0]), max(0, score), None)


@pytest.mark.parametrize(
    ("channel", "settings"),
    [
        ("both", {"reduce": 2, "stride": 4, "floor": 8, "levels": 3, "margin": 0}),
        ("luma", {"reduce": 1, "stride": 3, "floor": 0, "levels": 1, "margin": 2}),
        ("colour", {"reduce": 3, "stride": 1, "floor": 20, "levels": 4, "margin": 1}),
        ("red", {"reduce": 2, "stride": 5, "floor": 60, "levels": 2, "margin": 3}),
    ],
)
def test_equals_the_slow_computation(channel: str, settings: dict[str, int]) -> None:
    for seed in range(3):
        frame = np.random.default_rng(seed).integers(0, 256, (37, 44, 3), np.uint8)
        frame[5:20, 8:30] //= 4
        stage = Stage.of("edge_density", {"channel": channel, **settings}, frame=(37, 44), size=(14, 17))
        found, expected = stage.select(frame), slow(frame, (14, 17), settings, channel)
        assert (found.box, found.score) == (expected.box, expected.score)


def belt(top: int, left: int) -> np.ndarray:
    """A grey frame with a chequered patch of 16x16 at a place."""
    frame = np.full((96, 128, 3), 90, np.uint8)
    patch = ((np.indices((16, 16)) // 4).sum(0) % 2 * 120 + 60).astype(np.uint8)
    frame[top : top + 16, left : left + 16] = patch[..., None]
    return frame


@pytest.mark.parametrize(("top", "left"), [(0, 0), (40, 56), (80, 112), (33, 7), (2, 90)])
def test_finds_the_patch_and_puts_it_into_the_middle(top: int, left: int) -> None:
    stage = Stage.of("edge_density", {}, frame=(96, 128), size=(32, 32))
    box = stage.select(belt(top, left)).box
    assert box[0] <= left
    assert box[1] <= top
    assert box[2] >= left + 16
    assert box[3] >= top + 16
    inside = 8 <= top <= 72 and 8 <= left <= 104  # else the frame's border keeps it out of the middle
    if inside:
        assert abs(box[0] + 16 - (left + 8)) <= 4
        assert abs(box[1] + 16 - (top + 8)) <= 4


def test_an_even_picture_scores_nothing_and_the_first_place_wins() -> None:
    stage = Stage.of("edge_density", {}, frame=(96, 128), size=(32, 32))
    found = stage.select(np.full((96, 128, 3), 77, np.uint8))
    assert found.box == (0, 0, 32, 32)
    assert found.score == 0


def test_of_two_equal_patches_the_first_in_rows_wins() -> None:
    frame = np.maximum(belt(56, 8), belt(8, 88))
    stage = Stage.of("edge_density", {}, frame=(96, 128), size=(32, 32))
    assert stage.select(frame).box[1] < 32


def test_the_gate_sleeps_below_the_threshold_and_wakes_at_it() -> None:
    stage = Stage.of("edge_density", {}, frame=(96, 128), size=(32, 32))
    score = stage.select(belt(40, 40)).score
    assert score > 16
    for threshold, awake in ((score, True), (score + 1, False)):
        gated = Stage.of("edge_density", {"threshold": threshold}, frame=(96, 128), size=(32, 32))
        assert gated.wakes(gated.select(belt(40, 40))) is awake


def test_the_floor_silences_weak_texture() -> None:
    frame = np.full((64, 64, 3), 100, np.uint8)
    frame[::4] += 6
    for floor, silent in ((0, False), (16, True)):
        stage = Stage.of("edge_density", {"floor": floor, "reduce": 1}, frame=(64, 64), size=(16, 16))
        heat = stage.select(frame).heat
        assert heat is not None
        assert bool(heat.any()) is not silent


def test_the_heat_map_covers_the_reduced_frame() -> None:
    heat = Stage.of("edge_density", {"reduce": 4}, frame=(97, 128), size=(32, 32)).select(belt97()).heat
    assert heat is not None
    assert heat.shape == (24, 32)


def belt97() -> np.ndarray:
    return np.pad(belt(40, 40), ((0, 1), (0, 0), (0, 0)), mode="edge")


def test_a_crop_larger_than_the_frame_is_the_frame() -> None:
    stage = Stage.of("edge_density", {}, frame=(20, 24), size=(32, 32))
    assert stage.select(np.zeros((20, 24, 3), np.uint8)).box == (0, 0, 24, 20)
    assert stage.pixels_kept == 1


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"margin": 16}, "margin"), ({"reduce": 16}, "gradient"), ({"stride": 0}, "stride"), ({"colour": 1}, "colour")],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, int], word: str) -> None:
    with pytest.raises(PlanError, match=word):
        Stage.of("edge_density", settings, frame=(40, 40), size=(32, 32))


def test_an_empty_crop_is_refused() -> None:
    with pytest.raises(PlanError, match="empty"):
        Stage.of("centre", {}, frame=(40, 40), size=(32, 32), crop=(0, 5))


def test_a_frame_of_another_size_is_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Stage.of("centre", {}, frame=(40, 40), size=(32, 32)).select(np.zeros((41, 40, 3), np.uint8))


def test_baselines_by_hand() -> None:
    frame = np.zeros((41, 60, 3), np.uint8)
    boxes = {
        name: Stage.of(name, {}, frame=(41, 60), size=(32, 32)).select(frame).box
        for name in ("centre", "full", "scaled")
    }
    assert boxes == {"centre": (14, 4, 46, 36), "full": (0, 0, 60, 41), "scaled": (0, 0, 60, 41)}


def test_operations_by_hand() -> None:
    """64x64, luma, not reduced: 4096 pixels x (4 + 7 + 2); 9 x 9 places of a 32x32 window x (4 x 3 + 1)."""
    stage = Stage.of("edge_density", {"channel": "luma", "reduce": 1}, frame=(64, 64), size=(32, 32))
    assert stage.operations == 4096 * 13 + 81 * 13
    halved = Stage.of("edge_density", {"channel": "red"}, frame=(64, 64), size=(32, 32))
    assert halved.operations == 4096 + 1024 * 9 + 81 * 13


def test_every_selector_speaks_for_itself() -> None:
    assert registry.names("attention") == ("centre", "edge_density", "full", "scaled")
    for name in registry.names("attention"):
        selector = registry.find("attention", name)
        assert selector.name == name
        assert selector.title
        assert selector.help


def test_selectors_load_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, studio.attention, studio.attention.edge_density;"
        "print([m for m in ('torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
