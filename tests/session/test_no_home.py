"""A session where nothing can be saved: it works all the same, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import studio
from studio.core import paths
from studio.core.errors import FileError
from studio.session import autosave


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that cannot be made, not even by root: its parent is a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "file" / "home"))
    return tmp_path


def test_a_session_opens_measures_and_exports(no_home: Path) -> None:
    model, data = (paths.resource("demo") / name for name in ("parts.onnx", "crops_test.npz"))
    session = studio.open(model, data=data, samples=50)
    try:
        session.set_step("fc", studio.Step("quantize"))
        assert session.wait().result.samples == 50
        assert session.export(no_home / "out", formats="tflite")["exports"][0]["passed"]
    finally:
        session.close()


def test_it_is_a_sentence_and_there_is_nothing_to_recover(no_home: Path) -> None:
    with pytest.raises(FileError, match="STUDIO_HOME"):
        paths.user_folder("autosave")
    assert autosave.recoverable() == []
