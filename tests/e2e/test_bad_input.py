"""Bad input from the command line: one sentence with file, place and remedy, exit 2, nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio.cli.main import run
from studio.core import paths

Mistake = Callable[..., str]


def demo(name: str) -> Path:
    return paths.resource("demo") / name


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Mistake:
    """Run a command that must fail as a user's mistake, and return its message."""

    def call(*arguments: object) -> str:
        code = run([str(a) for a in arguments])
        out = capsys.readouterr()
        assert code == 2, out.err
        assert out.out == ""
        assert "Traceback" not in out.err
        message = out.err.strip().splitlines()[-1]
        assert message.startswith("edge-studio: ")
        assert message.endswith((".", "?"))
        return message

    return call


def compress(*more: object, model: object = None, data: object = None) -> list[object]:
    return ["compress", model or demo("parts.onnx"), "--data", data or demo("crops_test.npz"), *more]


MODELS: dict[str, Callable[[Path], None]] = {
    "folder.onnx": lambda p: p.mkdir(),
    "empty.onnx": lambda p: p.write_bytes(b"") and None,
    "truncated.onnx": lambda p: p.write_bytes(demo("parts.onnx").read_bytes()[:5000]) and None,
    "text.onnx": lambda p: p.write_text("This is not a network.\n" * 30) and None,
    "lfs.onnx": lambda p: (
        p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 26454\n") and None
    ),
}


@pytest.mark.parametrize("name", [*MODELS, "missing.onnx"])
def test_model_files(name: str, tmp_path: Path, mistake: Mistake) -> None:
    path = tmp_path / name
    if name in MODELS:
        MODELS[name](path)
    out = tmp_path / "out"
    assert name in mistake(*compress("--preset", "int8", "--out", out, model=path))
    assert not out.exists()


def test_custom_operator(shared: Path, tmp_path: Path, mistake: Mistake) -> None:
    path = shared / "data" / "hostile" / "legit_customop_qonnx_TFC_2W2A.onnx"
    assert "Quant" in mistake("inspect", path)


def npz(tmp_path: Path, **arrays: object) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros((4, 3, 31, 31), np.float32), "y": np.zeros(4, int)}, "31"),
        ({"x": np.array(["a", "b"]), "y": np.zeros(2, int)}, "x"),
        ({"x": np.zeros((4, 3, 32, 32), np.float32), "y": np.array([0, 1, 2, 77])}, "77"),
        ({"x": np.full((4, 3, 32, 32), np.nan, np.float32), "y": np.zeros(4, int)}, "NaN"),
        ({"x": np.array([object()]), "y": np.zeros(1, int)}, "object"),
        ({"y": np.zeros(4, int)}, "x"),
    ],
)
def test_data_files(arrays: dict[str, object], word: str, tmp_path: Path, mistake: Mistake) -> None:
    path = npz(tmp_path, **arrays)
    message = mistake(*compress("--preset", "int8", "--out", tmp_path / "out", data=path))
    assert "data.npz" in message
    assert word in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", ["prune_channels", "prune_channels(criterion=apoz)", "low_rank", "equalize"])
def test_samples_that_drive_a_layer_to_nan(step: str, tmp_path: Path, mistake: Mistake) -> None:
    path = npz(tmp_path, x=np.full((20, 3, 32, 32), 1e38, np.float32), y=np.arange(20) % 6)
    more = ("--set", f"*:{step}", "--set", "*:quantize", "--skip-refused", "--out", tmp_path / "out")
    message = mistake(*compress(*more, data=path))
    for word in ("conv1", "NaN", "Check the preprocessing"):
        assert word in message
    assert not list((tmp_path / "out").glob("model*"))


def test_fewer_samples_than_asked(tmp_path: Path, mistake: Mistake) -> None:
    path = npz(tmp_path, x=np.zeros((4, 3, 32, 32), np.uint8), y=np.arange(4))
    assert "4" in mistake(*compress("--preset", "int8", "--samples", 5, "--out", tmp_path / "out", data=path))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--preset", "int9"], ["int9", "int8"]),
        (["--set", "conv1x:quantize(weight_bits=4)"], ["conv1x"]),
        (["--set", "*:quantise(weight_bits=4)"], ["quantise", "quantize"]),
        (["--set", "*:quantize(weight_bits=44)"], ["weight_bits", "44", "8"]),
        (["--set", "*:quantize(bits=4)"], ["bits", "weight_bits"]),
        (["--set", "quantize"], ["quantize", "LAYER"]),
        (["--set", "fc:low_rank(keep=0)"], ["fc:low_rank", "keep", "0.01 to 0.99"]),
        (["--set", "fc:share_weights(bits=9)"], ["fc:share_weights", "bits", "1 to 8"]),
        (["--set", "conv1:prune_channels(amount=1)"], ["conv1:prune_channels", "amount", "0 to 0.95"]),
        (["--set", "conv1:prune_channels(minimum=12)"], ["conv1: prune_channels", "12 must stay", "change it"]),
        (["--set", "fc:prune_channels"], ["fc: prune_channels", "output", "Remove"]),
        (["--set", "fc:fast_convolution"], ["fc: fast_convolution", "Remove"]),
        (["--set", "conv1:equalize"], ["conv1: equalize", "Remove"]),
        (["--set", "conv1/1:low_rank"], ["conv1/1", "Set the step on conv1"]),
        (["--set", "relu1:share_weights"], ["relu1", "no weights", "Remove"]),
        (["--preset", "int8", "--format", "onnx,gguf"], ["gguf", "tflite"]),
        (["--preset", "int8", "--option", "onnx_weights=int4"], ["onnx_weights"]),
        ([], ["--plan", "--preset", "--set"]),
    ],
)
def test_what_to_apply(more: list[str], words: list[str], tmp_path: Path, mistake: Mistake) -> None:
    message = mistake(*compress(*more, "--out", tmp_path / "out"))
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


def plan(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", ["plan.json"]),
        ({"format": 7}, ["7"]),
        ({"format": 1, "layerz": {}}, ["layerz"]),
        ({"format": 1, "layers": {"nowhere": [{"technique": "quantize"}]}}, ["nowhere"]),
        ({"format": 1, "layers": {"fc": [{"technique": "magic"}]}}, ["magic", "fc"]),
        ({"format": 1, "jobs": [{"job": "retrain"}]}, ["retrain"]),
        ({"format": 1, "model": {"name": "b.onnx", "fingerprint": "sha256:0", "layers": ["x"]}}, ["b.onnx", "another"]),
        ({"format": 1, "model": {"name": "b.onnx", "fingerprint": "sha256:0", "layers": True}}, ["b.onnx", "another"]),
        ({"format": 1, "defaults": [{"technique": "quantize"}, {"technique": "quantize"}]}, ["GRID"]),
        ({"layers": {"fc": [{"technique": "quantize"}, {"technique": "share_weights"}]}}, ["fc", "GRID", "Keep one"]),
        ({"layers": {"fc": [{"technique": "low_rank", "settings": {"keep": 2}}]}}, ["fc: low_rank", "keep", "0.01 to"]),
        ({"layers": {"fc": [{"technique": "share_weights", "settings": {"bits": 0}}]}}, ["fc", "bits", "1 to 8"]),
        ({"groups": {"conv1": [{"technique": "prune_channels", "settings": {"amount": 1}}]}}, ["conv1", "0 to 0.95"]),
        ({"groups": {"fc": [{"technique": "prune_channels"}]}}, ["fc: prune_channels", "output", "Remove"]),
        ({"groups": {"conv1": [{"technique": "quantize"}]}}, ["conv1", "quantize", "layers"]),
    ],
)
def test_plan_files(value: object, words: list[str], tmp_path: Path, mistake: Mistake) -> None:
    message = mistake(*compress("--plan", plan(tmp_path, value), "--out", tmp_path / "out"))
    for word in words:
        assert word in message


def test_annotations_that_leave_their_folder(tmp_path: Path, mistake: Mistake) -> None:
    entry = {"file": "../secret.png", "width": 4, "height": 4, "label": "a", "boxes": []}
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "annotations.json").write_text(json.dumps([entry]))
    message = mistake(*compress("--preset", "int8", "--out", tmp_path / "out", data=tmp_path / "frames"))
    assert "../secret.png" in message


def test_a_folder_that_is_a_file(tmp_path: Path, mistake: Mistake) -> None:
    (tmp_path / "out").write_text("I am a file")
    message = mistake(*compress("--preset", "int8", "--samples", 100, "--out", tmp_path / "out"))
    assert "out" in message
    assert (tmp_path / "out").read_text() == "I am a file"


def test_full_disk(tmp_path: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    message = mistake(*compress("--preset", "int8", "--samples", 100, "--out", tmp_path / "out"))
    assert "space" in message.lower()
    assert not [p for p in (tmp_path / "out").glob("*") if p.name.startswith("model")]
