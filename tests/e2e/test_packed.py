"""From a model to `model.ecs` and back by the command line alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cli.main import run
from studio.core import paths

MODEL, DATA = paths.resource("demo") / "parts.onnx", paths.resource("demo") / "crops_test.npz"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = run([str(a) for a in (*arguments, "--json")])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out else None, out.err


def test_the_deep_compression_preset_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("--data", DATA, "--preset", "deep-compression", "--format", "packed,onnx", "--out", tmp_path / "out")
    code, found, _ = call(capsys, "compress", MODEL, *arguments)
    assert code == 0
    packed, onnx = found["exports"]
    assert (packed["runtime"], packed["passed"], packed["agreement"], packed["max_abs_difference"]) == (
        "packed", True, 1.0, 0.0,
    )  # fmt: skip
    path = tmp_path / "out" / "model.ecs"
    assert Path(packed["path"]) == path
    assert packed["file_bytes"] == path.stat().st_size < onnx["file_bytes"] / 2
    # Beside the plan's own bytes there is only the header; biases are stored in fewer bytes than counted there.
    assert packed["file_bytes"] < found["previewed"]["flash_bytes"] + 1500

    code, alone, _ = call(capsys, "evaluate", path, "--data", DATA)
    assert code == 0
    assert (alone["runtime"], alone["value"]) == ("packed", packed["value"])
    assert alone["file_bytes"] == packed["file_bytes"]


def test_a_damaged_file_is_a_sentence_and_exit_code_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("--data", DATA, "--set", "*:huffman", "--format", "packed", "--out", tmp_path / "out")
    assert call(capsys, "compress", MODEL, *arguments)[0] == 0
    content = (tmp_path / "out" / "model.ecs").read_bytes()
    for name, broken in (
        ("cut", content[:-100]),
        ("flipped", content[:500] + b"?" + content[501:]),
        ("text", b"hello"),
    ):
        path = tmp_path / f"{name}.ecs"
        path.write_bytes(broken)
        code, found, message = call(capsys, "evaluate", path, "--data", DATA)
        assert (code, found) == (2, None)
        assert str(path) in message
        assert "Traceback" not in message
