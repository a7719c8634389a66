"""The table of measured shares: estimates by hand, and nothing that is known is measured again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.errors import Cancelled
from studio.core.plan import Plan, Step
from studio.core.result import Cost
from studio.engine import sensitivity, sensitivity_table
from studio.engine.sensitivity import CASES, SCORED, SensitivityRow, SensitivityTable, estimate, layer_drop
from studio.session import Session
from studio.session.demo import open_demo

NO_COST = Cost(0, 0, 0, ())


def row(layer: str, case: str, delta: float) -> SensitivityRow:
    step = CASES[case]()
    return SensitivityRow(layer, case, "alone", str(step.technique), dict(step.settings), 0.9 + delta, delta, None, 1)


def table(*rows: SensitivityRow) -> SensitivityTable:
    return SensitivityTable("top1", 0.9, 250, rows)


@pytest.fixture
def session() -> Iterator[Session]:
    with closing(open_demo()) as found:
        found.cancel()
        yield found


def expected(rows: SensitivityTable, steps: dict[str, tuple[Step, ...]], group: str | None = None) -> float:
    engine: Any = SimpleNamespace(
        resolve=lambda plan: SimpleNamespace(steps=steps),
        graph=SimpleNamespace(layer=lambda name: SimpleNamespace(group=group)),
    )
    value = estimate(rows, Plan(), engine, NO_COST).value
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("step", "delta"),
    [
        (Step("quantize", weight_bits=4), -0.10),
        (Step("quantize", weight_bits=8), -0.01),
        (Step("quantize", weight_bits=3), -0.10 - 0.30 * 3 / 15),  # steps of 1/4, squared: 4 of 1 to 16
        (Step("quantize", weight_bits=2), -0.40),
        (Step("share_weights", bits=2), -0.08),
        (Step("share_weights", bits=4), -0.005),
        (Step("prune_weights", amount=0.25), -0.01),
        (Step("low_rank", keep=0.75), -0.015),
        (Step("huffman"), 0.0),
    ],
)
def test_estimates_between_measured_strengths(step: Step, delta: float) -> None:
    measured = {"int8": -0.01, "int4": -0.10, "int2": -0.40, "shared 3 bit": -0.02, "pruned 50 %": -0.04}
    rows = table(*(row("a", case, value) for case, value in {**measured, "rank 50 %": -0.06}.items()))
    assert expected(rows, {"a": (step,)}) == pytest.approx(0.9 + delta)


def test_three_bits_without_a_row_of_two_go_on_the_line_through_four_and_eight() -> None:
    rows = table(row("a", "int8", 0.0), row("a", "int4", -0.0255))
    assert expected(rows, {"a": (Step("quantize", weight_bits=3),)}) == pytest.approx(0.9 - 0.0255 * 1023 / 255)


def test_a_cut_counts_once_for_its_group() -> None:
    rows = table(row("a", "channels 30 %", -0.02), row("b", "channels 30 %", -0.02))
    cut = (Step("prune_channels", amount=0.6),)
    assert expected(rows, {"a": cut, "b": cut}, group="a") == pytest.approx(0.9 - 0.08)


def test_another_session_measures_nothing_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("conv1", "fc")
    *_, first = sensitivity.measure_layers(session.engine, cases=("int8", "int2"), layers=names)
    assert {r.place for r in first.rows} == {
        *((name, case, "alone") for name in names for case in ("int8", "int2")),
        *((name, "int8", "spared") for name in names),
    }
    monkeypatch.setattr(sensitivity, "_row", lambda *_: pytest.fail("measured twice"))
    with closing(open_demo()) as other:
        other.cancel()
        assert other.blame == first  # it is shown before anything was asked for
        *_, again = sensitivity.measure_layers(other.engine, cases=("int8", "int2"), layers=names)
    assert again == first


def test_a_stopped_measurement_leaves_its_rows(session: Session) -> None:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 40

    with pytest.raises(Cancelled):
        list(sensitivity.measure_layers(session.engine, cases=("int8",), modes=("alone",), stop=stop))
    known = sensitivity.known_table(session.engine)
    assert known is not None
    assert 0 < len(known.rows) < len(session.graph.weighted)


def test_rows_of_other_samples_do_not_count(session: Session) -> None:
    *_, whole = sensitivity.measure_layers(session.engine, cases=("int8",), layers=("fc",), modes=("alone",))
    assert sensitivity.known_table(session.engine, chunks=1) is None
    assert sensitivity.known_table(session.engine, whole, chunks=1) is None


def test_a_damaged_file_counts_as_absent(home: Path) -> None:
    known = SensitivityTable("top1", 0.9, 250, (row("a", "int8", -0.1),), "k" * 64)
    sensitivity_table.keep(known)
    assert sensitivity_table.load("k" * 64) == known
    (file,) = (home / "sensitivity").iterdir()
    for text in ("", "[]", "{}", '{"rows": 3}', file.read_text()[:-9], file.read_text().replace("delta", "other")):
        file.write_text(text)
        assert sensitivity_table.load("k" * 64) is None
    sensitivity_table.keep(known)
    assert sensitivity_table.load("k" * 64) == known


def test_the_files_rows_grow_by_those_of_other_processes() -> None:
    one, two = (SensitivityTable("top1", 0.9, 250, (row(n, "int8", -0.1),), "k" * 64) for n in "ab")
    sensitivity_table.keep(one)
    sensitivity_table.keep(two)
    found = sensitivity_table.load("k" * 64)
    assert found is not None
    assert [r.layer for r in found.rows] == ["a", "b"]


def test_the_criterion_is_the_mean_loss_over_its_cases(session: Session) -> None:
    drop = layer_drop(session.engine, "fc")
    known = sensitivity.known_table(session.engine)
    assert known is not None
    deltas = [r.delta for case in SCORED if (r := known.find("fc", case)) is not None]
    assert len(deltas) == 4  # int8, int4, half of the weights pruned, half of the rank: TECHNIQUES.md
    assert drop == pytest.approx(-sum(deltas) / 4)
