"""The command line as a person uses it: exit codes, JSON on stdout alone, registries, start-up time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.cli.main import VERBS, run
from studio.core import paths
from studio.engine.sensitivity import CASES


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def demo(name: str) -> Path:
    return paths.resource("demo") / name


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['edge-studio', '--help']\n"
        "from studio.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'PySide6', 'matplotlib', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert verb in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run([verb, "--help"])
    assert stop.value.code == 0
    assert f"Example: edge-studio {verb}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", ["techniques", "jobs", "criteria", "formats", "selectors"])
def test_registries_as_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, verb, "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"name", "title", "stage", "settings", "help"} <= rows[0].keys()
    code, out, _ = call(capsys, verb)
    assert all(row["name"] in out for row in rows)


def test_registry_names_are_those_of_the_interface(capsys: pytest.CaptureFixture[str]) -> None:
    def names(verb: str) -> set[str]:
        return {row["name"] for row in json.loads(call(capsys, verb, "--json")[1])}

    assert {"quantize", "prune_weights"} <= names("techniques")
    assert {"l1", "l2", "magnitude", "mean_activation", "apoz", "similarity"} <= names("criteria")
    assert {"edge_density", "centre", "full", "scaled"} <= names("selectors")
    assert {"onnx", "tflite"} <= names("formats")


def test_inspect_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        capsys, "inspect", demo("parts.onnx"), "--data", demo("crops_test.npz"), "--samples", 50, "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert found["model"]["float32_bytes"] == 4 * found["model"]["parameters"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["model"]["parameters"]
    weighted = [layer for layer in found["layers"] if layer["weights"]]
    for layer in weighted:
        histogram = layer["weights"]["histogram"]
        assert sum(histogram["counts"]) == np.prod(layer["weight_shape"])
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
        assert {"l1", "l2", "magnitude", "similarity", "mean_activation"} <= layer["importance"].keys()
        assert len(layer["importance"]["l1"]["channels"]) == layer["weight_shape"][0]
    listed = [name for group in found["groups"] for name in group["layers"]]
    assert sorted(listed) == sorted(layer["name"] for layer in weighted)
    assert any(layer["weights"] is None and layer["group"] is None for layer in found["layers"])


def compress(capsys: pytest.CaptureFixture[str], out: Path, *more: object) -> tuple[int, dict[str, Any], str]:
    code, text, err = call(
        capsys, "compress", demo("parts.onnx"), "--data", demo("crops_test.npz"), "--calibration",
        demo("crops_calibration.npz"), "--samples", 200, "--out", out, "--json", *more,
    )  # fmt: skip
    return code, json.loads(text) if text else {}, err


def test_compress_writes_files_that_evaluate_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = compress(capsys, tmp_path / "out", "--preset", "int8")
    assert code == 0
    assert {row["format"] for row in found["exports"]} == {"onnx", "tflite"}
    assert found["calibration"] == {"source": "calibration", "samples": 240, "same_as_evaluation": False}
    assert found["previewed"]["flash_bytes"] < 0.35 * found["before"]["flash_bytes"]
    for row in found["exports"]:
        assert row["passed"]
        assert row["agreement"] >= 0.995
        assert Path(row["path"]).stat().st_size == row["file_bytes"]
        code, text, _ = call(
            capsys, "evaluate", row["path"], "--data", demo("crops_test.npz"), "--samples", 200, "--json"
        )
        again = json.loads(text)
        assert code == 0
        assert again["value"] == row["value"]
        assert again["runtime"] == row["runtime"]


def test_set_takes_globs_files_names_and_float(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, found, _ = compress(
        capsys, out, "--preset", "int8", "--set", "*:prune_weights(amount=0.3)", "--set", "fc:float", "--format", "onnx"
    )
    assert code == 0
    plan = json.loads((out / "plan.json").read_text())
    assert plan["layers"]["fc"][-1] == {"stage": "GRID", "technique": None}
    assert sum("prune_weights" in json.dumps(steps) for steps in plan["layers"].values()) == len(plan["layers"])
    assert json.loads((out / "manifest.json").read_text())["float_layers"] == ["fc"]
    assert any("float" in note for note in found["exports"][0]["notes"]) or found["exports"][0]["passed"]


def test_the_plan_of_an_export_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, first, _ = compress(capsys, tmp_path / "a", "--preset", "int8", "--set", "fc:quantize(weight_bits=4)")
    _, second, _ = compress(capsys, tmp_path / "b", "--plan", tmp_path / "a" / "plan.json")
    assert first["previewed"] == second["previewed"]
    for a, b in zip(first["exports"], second["exports"], strict=True):
        assert Path(a["path"]).read_bytes() == Path(b["path"]).read_bytes()


def test_an_export_folder_is_replaced_but_strange_files_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert compress(capsys, out, "--preset", "int8", "--format", "onnx")[0] == 0
    assert compress(capsys, out, "--preset", "int8", "--format", "tflite")[0] == 0
    assert not (out / "model.onnx").exists()
    (out / "thesis.txt").write_text("mine")
    code, _, err = compress(capsys, out, "--preset", "int8", "--format", "onnx")
    assert code == 2
    assert "thesis.txt" in err
    assert (out / "model.tflite").exists()
    assert compress(capsys, out, "--preset", "int8", "--format", "onnx", "--force")[0] == 0
    assert (out / "thesis.txt").read_text() == "mine"


def test_sensitivity_of_each_layer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("sensitivity", demo("parts.onnx"), "--data", demo("crops_test.npz"), "--samples", 100)
    code, out, _ = call(capsys, *arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert found.keys() == {"metric", "base", "samples", "rows"}
    assert (found["metric"], found["samples"]) == ("top1", 100)
    keys = {"layer", "technique", "settings", "value", "delta", "interval", "bytes", "case"}
    assert all(row.keys() == keys for row in found["rows"])
    assert {row["case"] for row in found["rows"]} == set(CASES)
    assert all(row["delta"] == pytest.approx(row["value"] - found["base"]) for row in found["rows"])
    layers = {row["layer"] for row in found["rows"]}
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert all(layer in out for layer in layers)
    code, out, _ = call(capsys, *arguments, "--json", "--only", "int2", "--only", "low_rank")
    assert json.loads(out)["rows"] == [row for row in found["rows"] if row["case"] in ("int2", "rank 50 %")]
    code, out, err = call(capsys, *arguments, "--only", "int3")
    assert (code, out) == (2, "")
    assert "no case 'int3'" in err
    assert "channels 30 %" in err


def test_sensitivity_without_classes_is_in_the_metrics_own_numbers(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data"
    model, samples = (
        data / "models" / "mlperftiny_ad_autoencoder.onnx",
        data / "data" / "ad_toycar_normal_windows40.npz",
    )
    assert run(["sensitivity", str(model), "--data", str(samples), "--samples", "20"]) == 0
    title, _, _, first = capsys.readouterr().out.splitlines()[:4]
    assert title == "cosine 1.00000 in float on 20 samples; change when one layer alone is compressed"
    assert all(len(word.lstrip("+-")) == len("0.00000") for word in first.split()[1:])
