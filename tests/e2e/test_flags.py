"""Flags that do not fit each other or the data: said before any work, never ignored silently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.cli.main import run
from studio.core import paths


def demo(name: str) -> Path:
    return paths.resource("demo") / name


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def compress(*more: object) -> list[object]:
    given = ["compress", demo("parts.onnx"), "--data", demo("crops_test.npz"), "--samples", 60]
    return [*given, *(() if "--plan" in more else ("--preset", "int8")), *more]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", -1], ["seed", "-1", "0 or more"]),
        (["--calibration-samples", 0], ["samples = 0", "1 or more"]),
        (["--calibration-samples", -2], ["samples = -2"]),
        (["--calibration-samples", 61], ["61", "only 60", "crops_test.npz"]),
        (["--label", "colour"], ["colour", "y", "crops_test.npz"]),
        (["--crop", "32x32"], ["--crop", "--attention"]),
        (["--frames", "frames"], ["--frames", "--attention"]),
        (["--attention", "edge_densty"], ["edge_densty", "edge_density"]),
        (["--attention", "edge_density(stride=0)"], ["stride", "1 to 64"]),
        (["--attention", "edge_density", "--crop", "0x3"], ["0x3", "32x32"]),
    ],
)
def test_flags_of_compress(
    more: list[object], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *compress(*more, "--out", tmp_path / "out"))
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    for word in words:
        assert word in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["evaluate", "inspect", "attend"])
def test_a_negative_seed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [demo("frames"), "--selector", "centre", "--crop", "32x32"]
    own = frames if verb == "attend" else [demo("parts.onnx"), "--data", demo("crops_test.npz")]
    code, _, err = call(capsys, verb, *own, "--samples", 10, "--seed", -1)
    assert code == 2
    assert "seed -1" in err


def test_a_field_that_frames_do_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys, "attend", demo("frames"), "--selector", "centre", "--crop", "32x32", "--label", "colour"
    )
    assert code == 2
    assert "colour" in err


def test_the_seed_also_draws_the_calibration_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *compress("--seed", 7, "--format", "onnx", "--out", tmp_path))[0] == 0
    assert json.loads((tmp_path / "plan.json").read_text())["calibration"]["seed"] == 7


def test_a_format_named_twice_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, *compress("--format", "onnx,onnx", "--out", tmp_path, "--json"))
    assert code == 0
    assert [row["format"] for row in json.loads(out)["exports"]] == ["onnx"]


def test_a_plan_carries_its_preprocessing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(demo("crops_test.npz")) as file:
        bare = {name: file[name] for name in ("blob", "offsets", "y")}
        wanted = {name: file[name] for name in ("scale", "mean", "std")}
    np.savez(tmp_path / "bare.npz", **bare)
    _, first, _ = call(capsys, *compress("--out", tmp_path / "a", "--json"))
    stored = json.loads((tmp_path / "a" / "plan.json").read_text())["preprocess"]
    assert stored["scale"] == pytest.approx(float(wanted["scale"]))
    assert stored["std"] == pytest.approx(wanted["std"].tolist())
    _, second, err = call(
        capsys, "compress", demo("parts.onnx"), "--data", tmp_path / "bare.npz", "--samples", 60, "--plan",
        tmp_path / "a" / "plan.json", "--out", tmp_path / "b", "--json",
    )  # fmt: skip
    assert json.loads(second)["before"] == json.loads(first)["before"]
    assert "Preprocessing" not in err
    plain = call(capsys, *compress("--data", tmp_path / "bare.npz", "--out", tmp_path / "c"))
    assert "Preprocessing or labels are probably wrong" in plain[2]


def test_labels_that_the_file_s_network_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((3, 3, 32, 32), np.uint8), y=np.array([0, 1, 77]))
    code, _, err = call(capsys, "evaluate", demo("parts.onnx"), "--data", tmp_path / "data.npz")
    assert code == 2
    assert "77" in err
    assert "6 classes" in err


def test_every_file_s_inputs_and_outputs_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *compress("--out", tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    onnx, tflite = manifest["exports"]
    assert onnx["inputs"] == [
        {"name": "input", "shape": [None, 3, 32, 32], "layout": "NCHW", "dtype": "float32", "quantization": None}
    ]
    (taken,) = tflite["inputs"]
    scale = manifest["input"]["quantization"]
    assert (taken["shape"], taken["layout"], taken["dtype"]) == ([None, 32, 32, 3], "NHWC", "int8")
    assert taken["quantization"]["scale"] == pytest.approx(scale["scale"])
    assert taken["quantization"]["zero_point"] == scale["zero_point"]
    assert [row["dtype"] for row in tflite["outputs"]] == ["int8"]


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_the_snippet_runs_the_file(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *compress("--format", format, "--out", tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    shape = [n or 1 for n in manifest["exports"][0]["inputs"][0]["shape"]]
    code = f"import numpy\nx = numpy.ones({shape}, numpy.float32)\n{manifest['snippets'][format]}"
    code += "\nprint((outputs[0] if 'outputs' in dir() else y).shape)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 6)", done.stderr


def test_an_attention_stage_is_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attention = ["--attention", "edge_density", "--frames", demo("frames"), "--format", "onnx"]
    assert call(capsys, *compress(*attention, "--out", tmp_path))[0] == 0
    for name in ("attention.onnx", "pipeline.onnx"):
        code, _, err = call(capsys, "evaluate", tmp_path / name, "--data", demo("crops_test.npz"))
        assert code == 2
        assert "attend" in err


FACTORY = """
import torch

def make():
    layers = torch.nn.Conv2d(3, 6, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(*layers), (1, 3, 32, 32)
"""


def test_code_is_found_where_the_command_is_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_network.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3)).state_dict(), "own.pth")
    given = ["--factory", "own_network:make", "--data", demo("crops_test.npz"), "--samples", 10, "--json"]
    code, out, err = call(capsys, "evaluate", "own.pth", *given)
    assert code == 2, out
    assert "trust" in err
    code, out, err = call(capsys, "evaluate", "own.pth", *given, "--trust")
    assert code == 0, err
    assert json.loads(out)["runtime"].startswith("torch ")


def test_the_demo_takes_over_a_folder_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = call(capsys, "demo", "--headless", "--out", tmp_path)
    assert code == 2
    assert "--force" in err
    assert call(capsys, "demo", "--headless", "--out", tmp_path, "--force")[0] == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_skip_refused_also_leaves_out_what_the_plan_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [{"technique": "prune_weights", "settings": {"pattern": "2:4"}}, {"technique": "quantize"}]
    plan = {"format": 1, "layers": {"conv1": steps, "layer1.0.conv1": steps, "fc": []}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    given = compress("--plan", tmp_path / "plan.json", "--format", "onnx", "--out", tmp_path / "out", "--json")
    code, _, err = call(capsys, *given)
    assert code == 2
    assert "conv1" in err
    assert "--skip-refused" in err
    code, out, _ = call(capsys, *given, "--skip-refused")
    assert code == 0
    assert [(row["layer"], row["technique"]) for row in json.loads(out)["skipped"]] == [("conv1", "prune_weights")]
    kept = json.loads((tmp_path / "out" / "plan.json").read_text())["layers"]
    assert [len(kept[name]) for name in ("conv1", "layer1.0.conv1", "fc")] == [1, 2, 0]


def test_skip_refused_leaves_out_the_cut_of_a_group_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = [{"technique": "prune_channels", "settings": {"amount": 0.2, "reestimate": False, "criterion": "l1"}}]
    plan = {"format": 1, "groups": {"fc": cut, "layer3.0.conv1": cut}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    given = compress("--plan", tmp_path / "plan.json", "--format", "packed", "--out", tmp_path / "out", "--json")
    assert call(capsys, *given)[0] == 2
    code, out, _ = call(capsys, *given, "--skip-refused")
    assert code == 0
    assert [row["layer"] for row in json.loads(out)["skipped"]] == ["fc"]
    assert set(json.loads((tmp_path / "out" / "plan.json").read_text())["groups"]) == {"layer3.0.conv1"}


def test_set_reaches_groups_by_any_member_and_factors_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = [{"technique": "prune_channels", "settings": {"amount": 0.5, "criterion": "l1", "reestimate": False}}]
    (tmp_path / "plan.json").write_text(json.dumps({"format": 1, "groups": {"conv1": cut}}))
    sets = ["layer1.0.conv2:off(STRUCTURE)", "fc:low_rank(data_aware=false)", "fc/1:quantize(weight_bits=4)"]
    given = [x for one in sets for x in ("--set", one)]
    code, out, _ = call(
        capsys,
        *compress("--plan", tmp_path / "plan.json", *given, "--format", "packed", "--out", tmp_path / "o", "--json"),
    )
    assert code == 0
    found = json.loads(out)
    assert "fc/1" not in found["float_layers"]
    assert "fc/2" in found["float_layers"]
    kept = json.loads((tmp_path / "o" / "plan.json").read_text())
    assert kept["groups"] == {"conv1": [{"stage": "STRUCTURE", "technique": None}]}
    assert [step["technique"] for step in kept["layers"]["fc/1"]] == ["quantize"]


def test_a_fast_convolution_is_no_promise_about_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--set", "conv1:fast_convolution", "--format", "onnx,packed", "--out", tmp_path, "--json"]
    code, out, _ = call(capsys, *compress(*given))
    assert code == 0
    for row in json.loads(out)["exports"]:
        assert "conv1: fast_convolution changes nothing in this file; what runs it chooses its kernels." in row["notes"]


def test_a_mixed_file_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, *compress("--set", "fc:float", "--format", "onnx", "--out", tmp_path))
    assert "mixed, not full-integer: float layers are fc\n" in out


def test_a_network_without_classes_shows_its_own_metric(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data"
    code, out, _ = call(
        capsys, "compress", data / "models" / "mlperftiny_ad_autoencoder.onnx", "--data",
        data / "data" / "ad_toycar_normal_windows40.npz", "--preset", "int8", "--format", "onnx", "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    table = out.splitlines()
    assert table[1].split()[:2] == ["cosine", "bytes"]
    assert table[3].split()[:2] == ["float", "1.00000"]
    assert "0.99" in table[5]


def test_a_job_trains_on_what_trusted_code_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(demo("crops_test.npz"))
    (tmp_path / "own_data.py").write_text(
        f"import numpy as np\n\ndef train():\n    found = np.load({folder!r})\n    return dict(found)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    given = compress("--job", "retrain(epochs=1,batch_size=8)", "--train-data", "own_data:train", "--out", "out")
    code, out, err = call(capsys, *given)
    assert code == 2, out
    assert "trust" in err
    code, out, err = call(capsys, *given, "--trust", "--json")
    assert code == 0, err
    assert json.loads(out)["jobs"][0]["job"] == "retrain"
