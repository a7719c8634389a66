"""A training state as a file: exact round trip, one content id, damage noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.core.encoding import Grid, unpack
from studio.core.errors import FileError
from studio.core.state import State, steps_key
from studio.core.step import Step


def grid() -> Grid:
    return Grid(np.array([[1, -7], [0, 3]], np.int8), np.array([0.5, 0.25], np.float32), 0, 4)


def state(**changes: object) -> State:
    facts: dict[str, object] = {
        "tensors": {"a.weight": np.arange(4, dtype=np.float32).reshape(2, 2), "a.bias": np.zeros(2, np.float32)},
        "kept": {"a": np.array([True, False, True])},
        "encodings": {"a": {steps_key((Step("quantize", weight_bits=4),)): grid().pack()}},
        "ranges": {"a": (-1.0, 2.5)},
        "made_for": {"rewrites": "x"},
        "about": {"job": "retrain", "seconds": 3.5},
    }
    return State(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_file_gives_back_exactly_the_same(tmp_path: Path) -> None:
    one = state()
    one.save(tmp_path / "a.state")
    found = State.load(tmp_path / "a.state")
    assert found.id == one.id
    assert {n: a.tolist() for n, a in found.tensors.items()} == {n: a.tolist() for n, a in one.tensors.items()}
    assert found.kept["a"].tolist() == [True, False, True]
    (content,) = found.encodings["a"].values()
    assert unpack(content).decode().tolist() == grid().decode().tolist()
    assert (dict(found.ranges), dict(found.made_for), dict(found.about)) == (
        {"a": (-1.0, 2.5)},
        {"rewrites": "x"},
        {"job": "retrain", "seconds": 3.5},
    )


def test_the_id_is_the_content_without_what_is_told_about_it() -> None:
    assert state(about={"seconds": 9.0}).id == state().id
    others = [
        state(tensors={"a.weight": np.ones((2, 2), np.float32)}),
        state(kept={"a": np.array([True, True, True])}),
        state(encodings={}),
        state(ranges={"a": (-1.0, 2.0)}),
        state(made_for={"rewrites": "y"}),
    ]
    assert len({state().id, *(one.id for one in others)}) == 6


def test_every_changed_byte_is_noticed_or_means_nothing(tmp_path: Path) -> None:
    one = state()
    one.save(tmp_path / "a.state")
    content = (tmp_path / "a.state").read_bytes()
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        (tmp_path / "b.state").write_bytes(bytes(damaged))
        try:
            found = State.load(tmp_path / "b.state")
        except FileError as error:
            assert error.remedy  # noqa: PT017
        else:
            assert found.id == one.id


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nothing"):
        State.load(tmp_path / "nothing.state")


def test_steps_have_a_key_of_their_settings_and_order() -> None:
    prune, grid4 = Step("prune_weights", amount=0.5), Step("quantize", weight_bits=4)
    assert steps_key((prune,)) == steps_key((Step("prune_weights"),))  # 0.5 is the default
    assert len({steps_key(()), steps_key((prune,)), steps_key((prune, grid4)), steps_key((grid4,))}) == 4
