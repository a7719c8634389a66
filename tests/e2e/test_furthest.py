"""`compress --furthest`: the cut is found by measuring, stored as a plain amount, and holds in the exported file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cli._furthest import parse, sentence
from studio.cli.main import run
from studio.core import paths
from studio.core.errors import PlanError
from studio.core.plan import Plan, Step

DEMO = paths.resource("demo")


def compress(out: Path, *more: object) -> list[str]:
    given = ["compress", DEMO / "parts.onnx", "--data", DEMO / "crops_test.npz", "--samples", 100, "--out", out]
    return [str(a) for a in (*given, "--format", "onnx", *more)]


def furthest(capsys: pytest.CaptureFixture[str], out: Path, spec: str) -> dict[str, Any]:
    assert run(compress(out, "--preset", "int8", "--furthest", spec, "--json")) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_spec_is_layer_drop_and_settings() -> None:
    assert parse("layer2.*:prune_channels(drop=0.02,criterion=l1,multiple=4)") == (
        "layer2.*", 0.02, Step("prune_channels", criterion="l1", multiple=4),
    )  # fmt: skip
    assert parse(" * : prune_channels ( drop=1 )")[:2] == ("*", 1.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("prune_channels(drop=0.01)", "no cut of channels"),
        ("conv1:quantize(drop=0.01)", "no cut of channels"),
        ("conv1:prune_channels", "how much"),
        ("conv1:prune_channels(drop=2)", "how much"),
        ("conv1:prune_channels(drop=true)", "how much"),
        ("conv1:prune_channels(drop=-0.1)", "how much"),
        ("conv1:prune_channels(drop=0.1,amount=0.5)", "amount"),
        ("conv1:prune_channels(drop=0.1,multiple=3)", "multiple"),
        ("conv1:prune_channels(drop=0.1", "cannot be read"),
    ],
)
def test_a_bad_spec_is_quoted(spec: str, words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        parse(spec)
    assert spec in str(caught.value)


def test_one_group_is_cut_within_the_drop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = "layer2.0.shortcut.0:prune_channels(drop=0.05,criterion=l2,reestimate=false,scope=layer)"
    found = furthest(capsys, tmp_path / "out", spec)
    (row,) = found["furthest"]
    assert row["groups"] == ["layer2.0.conv2"]  # cut together with the layer that was named
    assert 0 < row["amount"] <= 0.95
    assert row["value"] >= row["reference"] - 0.05
    assert found["previewed"]["value"] == row["value"]
    assert found["previewed"]["macs"] < found["before"]["macs"]
    plan = Plan.load(found["plan"])
    (step,) = plan.groups["layer2.0.conv2"]
    assert step.settings["amount"] == row["amount"]
    assert plan.defaults == (Step("quantize"),)


def test_nothing_may_be_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = "*:prune_channels(drop=0,criterion=l1,reestimate=false,scope=layer)"
    found = furthest(capsys, tmp_path / "out", spec)
    (row,) = found["furthest"]
    assert row["groups"] is None
    assert row["value"] >= row["reference"]
    plan = Plan.load(found["plan"])
    cuts = [step for step in plan.defaults if step.technique == "prune_channels"]
    assert [step.settings["amount"] for step in cuts] == ([row["amount"]] if row["amount"] else [])


def test_a_layer_without_a_cut_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(compress(tmp_path / "out", "--furthest", "fc:prune_channels(drop=0.01)")) == 2
    assert "network's output" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_sentences_say_what_it_was_chosen_by() -> None:
    row = {"layers": "*", "drop": 0.01, "amount": 0.371, "reference": 0.9, "value": 0.892, "samples": 900}
    assert sentence(row) == ("furthest cut of *: amount 37.1 %, -0.80 points, decided on the 900 evaluation samples")
    assert sentence({**row, "amount": 0}) == "furthest cut of *: even the smallest costs more than 1 pt"
