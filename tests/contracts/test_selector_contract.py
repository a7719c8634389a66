"""What every selector must do, whatever it looks for: a new file is held to it the moment it exists."""

import json

import numpy as np
import onnxruntime
import pytest

from studio.attention import Stage
from studio.core import registry
from studio.core.plan import Attention, Plan
from studio.core.settings import declared
from studio.export._attention import write_attention

SIZES = [((50, 70), (20, 24)), ((33, 33), (32, 32)), ((128, 96), (40, 200))]
selectors = pytest.mark.parametrize("name", registry.names("attention"))


def frames(size: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (*size, 3), np.uint8)
    return [noise, noise // 16 + 100, np.zeros_like(noise), np.full_like(noise, 255)]


@selectors
@pytest.mark.parametrize(("frame", "crop"), SIZES)
def test_the_box_has_its_size_lies_inside_and_never_changes(
    name: str, frame: tuple[int, int], crop: tuple[int, int]
) -> None:
    stage = Stage.of(name, {}, frame=frame, size=(16, 16), crop=crop)
    for picture in frames(frame):
        before = picture.copy()
        found, again = stage.select(picture), stage.select(picture)
        left, top, right, bottom = found.box
        assert (bottom - top, right - left) == stage.window
        assert left >= 0
        assert top >= 0
        assert right <= frame[1]
        assert bottom <= frame[0]
        assert (found.box, found.score) == (again.box, again.score)
        assert 0 <= found.score < 2**31
        assert np.array_equal(picture, before)
        assert stage.cut(picture, found).shape == (16, 16, 3)


@pytest.mark.parametrize("name", [n for n in registry.names("attention") if n != "full"])
@pytest.mark.parametrize(("frame", "crop"), SIZES)
def test_the_graph_is_python_bit_for_bit(name: str, frame: tuple[int, int], crop: tuple[int, int]) -> None:
    runner = onnxruntime.InferenceSession(write_attention(Attention(name, {}, crop), frame, (16, 16)))
    stage = Stage.of(name, {}, frame=frame, size=(16, 16), crop=crop)
    for picture in frames(frame):
        found = stage.select(picture)
        box, score, cut = runner.run(None, {"frame": picture})
        assert tuple(box.tolist()) == found.box
        assert int(score) == found.score
        assert np.array_equal(cut, stage.cut(picture, found))


@selectors
def test_settings_speak_and_travel_through_a_plan_file(name: str) -> None:
    selector = registry.find("attention", name)
    assert selector.name == name
    assert selector.title
    assert selector.help.endswith(".")
    assert all(setting.help and setting.default is not None for setting in declared(selector.settings))
    values = json.loads(selector.settings().model_dump_json())
    plan = Plan(attention=Attention(name, values, (32, 48)))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@selectors
def test_operations_are_counted(name: str) -> None:
    selector = registry.find("attention", name)
    stage = Stage.of(name, {}, frame=(64, 64), size=(32, 32))
    assert stage.operations >= selector.operations((64, 64), (32, 32), selector.settings())
    assert (selector.operations((64, 64), (32, 32), selector.settings()) == 0) is selector.baseline
