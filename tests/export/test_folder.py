"""The export folder: whole, or called incomplete; what no manifest names stays."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import ExportError, FileError
from studio.export.folder import ASIDE, MANIFEST, ExportFolder, check_member, named_by_manifest, read_manifest

ROOT = Path(__file__).resolve().parents[2]
OLD = {"model.onnx": b"old onnx", "model.tflite": b"old tflite", "plan.json": b"{}"}
NEW = {"model.onnx": b"new onnx", "plan.json": b'{"new": 1}', "weights.png": b"picture"}


def export(folder: Path, files: dict[str, bytes], **options: bool) -> dict[str, object]:
    with ExportFolder(folder, **options) as made:
        for name, content in files.items():
            made.write(name, content)
        return made.finish({"versions": {"onnx": "1"}})


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def is_complete(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except (ExportError, FileError):
        return False
    return True


def test_files_and_a_manifest_with_their_hashes(tmp_path: Path) -> None:
    manifest = export(tmp_path / "out", OLD)
    assert read_manifest(tmp_path / "out") == manifest
    assert manifest["files"]["model.onnx"] == {"sha256": hashlib.sha256(b"old onnx").hexdigest(), "bytes": 8}
    assert set(content(tmp_path / "out")) == {*OLD, MANIFEST}
    assert list(manifest["files"]) == list(OLD)
    assert manifest["versions"] == {"onnx": "1"}


def test_what_only_the_old_manifest_names_is_removed(tmp_path: Path) -> None:
    export(tmp_path, OLD)
    export(tmp_path, NEW)
    assert {k: v for k, v in content(tmp_path).items() if k != MANIFEST} == NEW
    assert is_complete(tmp_path)


def test_files_of_others_need_force_and_stay(tmp_path: Path) -> None:
    export(tmp_path, OLD)
    (tmp_path / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(ExportError, match=r"holds files that are not of an export: thesis.txt\.") as raised:
        ExportFolder(tmp_path)
    assert "--force" in raised.value.remedy
    export(tmp_path, NEW, force=True)
    assert (tmp_path / "thesis.txt").read_bytes() == b"years of work"
    assert is_complete(tmp_path)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"1")
    out = tmp_path / "out"
    out.mkdir()
    names = ["../precious", "..", "", "/etc/passwd", "sub/x", "mine"]
    (out / MANIFEST).write_text(json.dumps({"files": {name: {"sha256": ""} for name in names}}))
    assert named_by_manifest(out) == {MANIFEST, "mine"}
    export(out, NEW)
    assert (tmp_path / "precious").exists()
    assert is_complete(out)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"files": {"a": "b"}}', "\xff", '{"files": ["a"]}'])
def test_a_manifest_that_is_none_is_said_so(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(FileError, match="is no manifest of an export"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"has no manifest\.json"):
        read_manifest(tmp_path)
    check_member(tmp_path / "model.onnx")


@pytest.mark.parametrize("damage", ["changed", "missing", "a folder"])
def test_an_export_with_another_file_is_incomplete(damage: str, tmp_path: Path) -> None:
    export(tmp_path, OLD)
    file = tmp_path / "model.tflite"
    file.unlink()
    if damage == "changed":
        file.write_bytes(b"old tflitf")
    elif damage == "a folder":
        file.mkdir()
    with pytest.raises(ExportError, match=r"incomplete export: model\.tflite"):
        read_manifest(tmp_path)
    with pytest.raises(ExportError, match="incomplete export"):
        check_member(tmp_path / "model.onnx")


def abandoned(folder: Path, error: BaseException, **options: bool) -> None:
    with ExportFolder(folder, **options) as made:
        path = made.write("model.onnx", b"new")
        assert path.read_bytes() == b"new"
        raise error


def test_an_exception_keeps_the_old_export(tmp_path: Path) -> None:
    export(tmp_path, OLD)
    before = content(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        abandoned(tmp_path, KeyboardInterrupt())
    assert content(tmp_path) == before
    assert not (tmp_path / ASIDE).exists()


def test_an_exception_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        abandoned(tmp_path / "new", ZeroDivisionError())
    assert not (tmp_path / "new").exists()


def test_a_folder_with_files_of_others_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"1")
    with pytest.raises(ZeroDivisionError):
        abandoned(tmp_path, ZeroDivisionError(), force=True)
    assert content(tmp_path) == {"mine": b"1"}


@pytest.mark.parametrize("step", range(12))
def test_a_failing_disk_leaves_the_old_export_or_an_incomplete_one(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename and every write in turn fails; the next export then takes the folder over."""
    export(tmp_path, OLD)
    before = content(tmp_path)
    calls = 0

    def failing(real):
        def call(self, *rest):
            nonlocal calls
            calls += 1
            if calls - 1 == step:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(self, *rest)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "write_bytes"):
            patch.setattr(Path, name, failing(getattr(Path, name)))
        with pytest.raises(FileError, match="No space left on device") as raised:
            export(tmp_path, NEW)
    assert str(tmp_path) in raised.value.where
    assert ASIDE not in raised.value.where
    assert raised.value.remedy
    after = {name: data for name, data in content(tmp_path).items() if not name.startswith(ASIDE)}
    # Four files are written aside (a write and a rename each) before the first moves: 8 steps, then 4 moves.
    if step <= 8:
        assert after == before
    else:
        assert not is_complete(tmp_path)
        assert read_error(tmp_path).startswith("is an incomplete export")
    export(tmp_path, NEW)
    assert {k: v for k, v in content(tmp_path).items() if k != MANIFEST} == NEW
    assert is_complete(tmp_path)


def read_error(folder: Path) -> str:
    with pytest.raises(ExportError) as raised:
        read_manifest(folder)
    return raised.value.what


KILLED = """
import os, signal, sys
from pathlib import Path
from studio.export.folder import ExportFolder
folder, wanted, calls, real = Path(sys.argv[1]), int(sys.argv[2]), 0, os.fsync
def fsync(handle):
    global calls
    if calls == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    calls += 1
    real(handle)
os.fsync = fsync
with ExportFolder(folder) as made:
    for name in ("model.onnx", "plan.json", "weights.png"):
        made.write(name, b"new " + name.encode())
    made.finish({})
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_kill_leaves_the_old_export_or_an_incomplete_one(first: bool, tmp_path: Path) -> None:
    """Killed at every sync: behind each write, and behind each move."""
    runs = {}
    for step in range(9):
        folder = tmp_path / str(step)
        if not first:
            export(folder, OLD)
        line = [sys.executable, "-c", KILLED, str(folder), str(step)]
        runs[step] = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE)
    for step, run in runs.items():
        error = run.communicate(timeout=60)[1]
        folder = tmp_path / str(step)
        # 4 writes, then 4 moves; the last move makes the export whole, the ninth sync never comes.
        assert run.returncode == (-signal.SIGKILL if step < 8 else 0), error
        old = {k: v for k, v in content(folder).items() if not k.startswith(ASIDE)} if folder.exists() else {}
        if step < 4:
            assert old == {} if first else (old | OLD == old and is_complete(folder))
        elif step < 7:
            assert not is_complete(folder)
        else:
            assert is_complete(folder)
            assert read_manifest(folder)["files"]["plan.json"]["bytes"] == len(b"new plan.json")
        export(folder, NEW)
        assert {k: v for k, v in content(folder).items() if k != MANIFEST} == NEW


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"1")
    with pytest.raises(ExportError, match="is a file, not a folder"):
        ExportFolder(tmp_path / "out")
    with pytest.raises(FileError, match="cannot be written"):
        ExportFolder(tmp_path / "out" / "below")


def test_a_folder_without_permission_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(FileError, match="cannot be written") as raised:
        ExportFolder(tmp_path / "a" / "b")
    assert raised.value.where == str(tmp_path)
    assert raised.value.remedy == "Choose a folder you can write to."
    assert not (tmp_path / "a").exists()


def test_a_first_export_that_was_killed_has_files_called_incomplete(tmp_path: Path) -> None:
    made = ExportFolder(tmp_path / "out")
    made.write("model.onnx", b"new onnx")
    made.write(MANIFEST, json.dumps({"files": {"model.onnx": {"sha256": "0"}}}).encode())
    (tmp_path / "out" / "model.onnx").write_bytes(b"of the user")
    check_member(tmp_path / "out" / "model.onnx")  # nothing has moved in: no file of an export
    made._move("model.onnx")
    with pytest.raises(ExportError, match="incomplete"):
        check_member(tmp_path / "out" / "model.onnx")
