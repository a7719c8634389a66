"""Checkpoints: exact round trip without pickle, atomic on a full disk, due in time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from studio.core.errors import FileError
from studio.jobs._checkpoints import FileCheckpoints as Checkpoints
from studio.jobs._recipe import CHECKPOINT_S


def checkpoints_at(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "c", every=CHECKPOINT_S)


def test_tensors_and_values_come_back_exactly(tmp_path: Path) -> None:
    shared = torch.arange(6, dtype=torch.float32)
    content = {
        "a": shared, "b": shared[2:], "t": torch.tensor(3), "none": torch.zeros(0), "rng": torch.get_rng_state(),
        "epoch": 3, "history": [0.1, 1 / 3], "state": {"big": 2**120, "name": "PCG64"}, "best": None,
    }  # fmt: skip
    checkpoints_at(tmp_path).save(content)
    found = checkpoints_at(tmp_path).load()
    assert found is not None
    assert found.keys() == content.keys()
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value)
            assert found[name].dtype == value.dtype
        else:
            assert found[name] == value
    assert b"pickle" not in (tmp_path / "c").read_bytes()


def test_there_is_none_at_the_first_start(tmp_path: Path) -> None:
    assert checkpoints_at(tmp_path).load() is None


def test_a_full_disk_keeps_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = checkpoints_at(tmp_path)
    checkpoints.save({"epoch": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left") as error:
        checkpoints.save({"epoch": 2})
    assert "Free some space" in error.value.remedy
    assert checkpoints_at(tmp_path).load() == {"epoch": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["c"]


def test_a_save_is_due_within_half_a_minute_or_in_a_hurry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    checkpoints = checkpoints_at(tmp_path)
    now += CHECKPOINT_S - 1
    assert not checkpoints.due()
    checkpoints.rest(10)  # a pause of 10 s within: only the rest was work
    now += 9
    assert not checkpoints.due()
    now += 3
    assert checkpoints.due()
    checkpoints.save({})
    assert not checkpoints.due()
    assert checkpoints.seconds == pytest.approx(CHECKPOINT_S + 1)
    again = Checkpoints(tmp_path / "c", every=CHECKPOINT_S, hurry=lambda: True)
    again.load()
    now += 2
    assert again.seconds == pytest.approx(CHECKPOINT_S + 3)
    assert again.due()
    assert CHECKPOINT_S <= 20


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    checkpoints_at(tmp_path).save({"a": torch.ones(8)})
    content = (tmp_path / "c").read_bytes()
    for damaged in (content[:40], b"", b"x" * 200, content.replace(b"edge_studio", b"edge_stupid")):
        (tmp_path / "c").write_bytes(damaged)
        with pytest.raises(FileError, match="no checkpoint"):
            checkpoints_at(tmp_path).load()
