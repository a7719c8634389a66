"""Files are written whole or not at all."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core import paths
from studio.core.errors import FileError


def test_a_written_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    paths.write_text(path, "ä one")
    paths.write_text(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    paths.write_bytes(path, b"old")

    def stop_half_way() -> None:
        with paths.atomic(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("number", "remedy"), [(errno.ENOSPC, "Free some space"), (errno.EACCES, "you can write to")])
def test_what_the_disk_says_becomes_a_sentence(tmp_path: Path, number: int, remedy: str) -> None:
    with pytest.raises(FileError, match=rf"a\.bin: cannot be written .*{remedy}"), paths.atomic(tmp_path / "a.bin"):
        raise OSError(number, "reason")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="cannot be written"):
        paths.write_text(tmp_path / "file" / "a.txt", "x")
    assert (tmp_path / "file").read_text() == "x"


def test_a_shipped_file_that_is_missing_is_named() -> None:
    assert (paths.resource("presets") / "int8.json").is_file()
    with pytest.raises(FileError, match="'no/such' is missing"):
        paths.resource("no/such")


def test_the_home_of_a_test_is_its_own(home: Path) -> None:
    assert paths.user_folder() == home


def test_threads_that_write_one_file_take_turns(tmp_path: Path) -> None:
    contents = [bytes([i]) * 20_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            list(pool.map(lambda content: paths.write_bytes(tmp_path / "a", content), contents))
    assert (tmp_path / "a").read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
