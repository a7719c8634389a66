"""The preview lane: newest plan wins, every finished answer is heard, faults do not end it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from studio.core.errors import Refused
from studio.core.plan import Plan, Step
from studio.core.result import Cost, Result
from studio.core.technique import Stage
from studio.session import Session, demo
from studio.session.events import Notice

INT8 = Plan(defaults=(Step("quantize"),))


@pytest.fixture
def session() -> Iterator[Session]:
    session = demo.open_demo()
    yield session
    session.close()


def test_cost_comes_before_the_first_result(session: Session) -> None:
    session.wait()
    heard: list[str] = []
    session.cost_changed.connect(lambda plan, cost: heard.append("cost"))
    session.result_changed.connect(lambda result: heard.append(f"result {result.samples}"))
    session.set_plan(INT8, "int8")
    session.wait()
    assert heard[0] == "cost"
    counts = [int(text.split()[1]) for text in heard[1:]]
    assert counts == sorted(counts)
    assert counts[0] == 200
    assert session.data is not None
    assert counts[-1] == session.data.count


def test_moving_slider_hears_answers_and_ends_on_the_newest_plan(session: Session) -> None:
    session.wait()
    answered: list[str] = []
    session.result_changed.connect(lambda result: answered.append(result.plan_key))
    layer = session.graph.weighted[2].name
    first = threading.Event()
    session.result_changed.connect(lambda result: first.set())
    for bits in (8, 7, 6, 5, 4, 3):
        session.set_step(layer, Step("quantize", weight_bits=bits), gesture="drag")
    assert first.wait(30)
    session.wait()
    assert answered[-1] == session.plan.key
    assert session.result is not None
    assert session.result.complete


def test_a_drag_is_one_undo_entry(session: Session) -> None:
    before = session.plan
    layer = session.graph.weighted[0].name
    for bits in (8, 6, 4):
        session.set_step(layer, Step("quantize", weight_bits=bits), gesture=1)
    session.set_step(layer, Step("quantize", weight_bits=3), gesture=2)
    assert session.undo()
    assert session.plan.steps(layer)[0] == Step("quantize", weight_bits=4)
    assert session.undo()
    assert session.plan == before
    assert not session.undo()
    assert session.redo()
    assert session.plan.steps(layer)[0] == Step("quantize", weight_bits=4)


def test_applying_to_several_layers_is_one_entry(session: Session) -> None:
    before = session.plan
    names = [layer.name for layer in session.graph.weighted[:3]]
    session.apply(names, Step("prune_weights", amount=0.4))
    assert all(session.plan.steps(name) for name in names)
    session.undo()
    assert session.plan == before


def test_refused_step_leaves_the_plan(session: Session) -> None:
    before = session.plan
    relu = next(layer.name for layer in session.graph.layers if not layer.weighted)
    with pytest.raises(Refused, match="no weights"):
        session.set_step(relu, Step("quantize"))
    assert session.plan == before


def test_result_has_interval_and_difference(session: Session) -> None:
    session.set_plan(INT8, "int8")
    result = session.wait().result
    assert isinstance(result, Result)
    assert result.metric == "top1"
    assert result.interval is not None
    assert result.value is not None
    assert result.interval[0] < result.value < result.interval[1]
    assert result.delta_interval is not None
    assert session.float_result is not None
    assert session.float_result.value == pytest.approx(result.value - (result.delta or 0))


def test_a_cancelled_measurement_ends_with_no_progress_shown(session: Session) -> None:
    session.wait()
    heard: list[object] = []
    running, ended = threading.Event(), threading.Event()

    def progress(value: object) -> None:
        heard.append(value)
        if value is not None and not running.is_set():
            running.set()
            session.lane.cancel()  # progress that was on its way follows
        elif value is None and running.is_set():
            ended.set()

    session.progress_changed.connect(progress)
    session.set_plan(INT8, "int8")
    assert running.wait(30)
    assert ended.wait(30)
    session.lane.wait()
    assert heard[-1] is None
    known = session.measured.get(session.plan.key)
    assert known is None or not known.result.complete


def test_leave_in_float_keeps_pruning(session: Session) -> None:
    name = session.graph.weighted[1].name
    session.set_plan(INT8.with_step(name, Step("prune_weights", amount=0.5)), "plan")
    session.set_float(name)
    assert [step.stage for step in session.plan.steps(name)] == [Stage.SPARSE]


def test_a_fault_in_the_lane_is_a_notice_and_the_lane_lives(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.wait()
    heard: list[Notice] = []
    session.notice.connect(heard.append)
    real = session.engine.cost

    def broken(plan: Plan) -> Cost:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(session.engine, "cost", broken)
    session.set_plan(INT8, "int8")
    with pytest.raises(RuntimeError, match="out of luck"):
        session.wait()
    assert "out of luck" in heard[0].text
    assert "Traceback" in heard[0].detail
    monkeypatch.setattr(session.engine, "cost", real)
    session.set_plan(INT8.with_step(session.graph.weighted[0].name, Step("quantize", weight_bits=4)), "again")
    assert session.wait().result is not None


def test_blame_measures_alone_and_spared(session: Session) -> None:
    session.wait()
    session.measure_blame(("int4",))
    session.wait()
    table = session.blame
    assert table is not None
    names = {layer.name for layer in session.graph.weighted}
    assert {row.layer for row in table.rows if row.mode == "alone"} == names
    assert {row.layer for row in table.rows if row.mode == "spared"} == names
    name = next(iter(names))
    row = table.find(name, "int4")
    assert row is not None
    engine = session.engine
    direct = engine.measure(Plan(layers={name: (Step("quantize", weight_bits=4),)}), table.samples // 50)
    assert row.value == direct.value
    assert [r.delta for r in table.blame("int4")] == sorted(r.delta for r in table.blame("int4"))
