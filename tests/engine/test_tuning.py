"""Learned roundings and corrected biases of plans: quick form first, kept by content, exact in the program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.core.encoding import Grid
from studio.core.errors import Cancelled
from studio.core.plan import Plan, Step
from studio.core.result import Cost, Result
from studio.engine import learn, tuning
from studio.engine.biases import corrected_bias, input_means
from studio.engine.engine import Engine
from studio.session import Session, demo

LEARNED = Plan(defaults=(Step("quantize", weight_bits=3, rounding="learned"),))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(tuning, "SAMPLES", 60)
    monkeypatch.setattr(tuning, "STEPS", 8)
    monkeypatch.setattr(learn, "ROWS", 2000)
    made = demo.open_demo()
    made.cancel()
    yield made
    made.close()


def fresh(engine: Engine) -> Engine:
    return Engine(engine.network, engine.graph, engine.sources)


def quick_learning(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of layers as they are learned, in few steps."""
    heard: list[str] = []
    whole = tuning.learn_rounding

    def fewer(*args, found, **kwargs):  # type: ignore[no-untyped-def]
        def hear(name, learned):  # type: ignore[no-untyped-def]
            heard.append(name)
            found(name, learned)

        return whole(*args, found=hear, steps=8, **kwargs)

    monkeypatch.setattr(tuning, "learn_rounding", fewer)
    return heard


def test_the_quick_form_stands_until_it_is_learned(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, engine = quick_learning(monkeypatch), session.engine
    layers = tuple(layer.name for layer in engine.graph.weighted)
    nearest = engine.encodings(Plan(defaults=(Step("quantize", weight_bits=3),)))
    assert engine.pending(LEARNED) == layers
    quick = engine.measure(LEARNED, 2)
    assert quick.quick
    for name, encoding in engine.encodings(LEARNED).items():
        assert encoding.pack() == nearest[name].pack()
    engine.prepare(LEARNED)
    assert heard == list(layers)
    assert engine.pending(LEARNED) == ()
    full = engine.measure(LEARNED, 2)
    assert not full.quick
    assert any(e.pack() != nearest[n].pack() for n, e in engine.encodings(LEARNED).items())
    assert engine.cost(LEARNED).flash_bytes == quick.cost.flash_bytes
    engine.prepare(LEARNED)
    assert len(heard) == len(layers)  # nothing is learned twice


def test_another_engine_finds_what_was_learned_in_the_folder(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = quick_learning(monkeypatch)
    session.engine.prepare(LEARNED)
    other = fresh(session.engine)
    assert other.pending(LEARNED) == ()
    for name, encoding in session.engine.encodings(LEARNED).items():
        assert other.encodings(LEARNED)[name].pack() == encoding.pack()
    a, b = session.engine.outputs(LEARNED, 1)[0], other.outputs(LEARNED, 1)[0]
    assert np.array_equal(a, b)
    assert len(heard) == len(session.graph.weighted)


def test_a_damaged_file_counts_as_absent(session: Session, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_learning(monkeypatch)
    session.engine.prepare(LEARNED)
    files = sorted((home / "learned").glob("*.bin"))
    assert len(files) == len(session.graph.weighted)
    whole = [file.read_bytes() for file in files[:4]]
    flipped = bytearray(whole[3])
    flipped[len(flipped) // 3] ^= 1
    for file, content in zip(files, (b"", b"\x00" * 7, whole[2][:-4], bytes(flipped)), strict=False):
        file.write_bytes(content)
    assert len(fresh(session.engine).pending(LEARNED)) == min(4, len(files))


def test_an_edit_behind_a_layer_leaves_its_rounding_alone(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_learning(monkeypatch)
    session.engine.prepare(LEARNED)
    layers = [layer.name for layer in session.graph.weighted]
    last = LEARNED.with_step(layers[-1], Step("quantize", weight_bits=5, rounding="learned"))
    assert session.engine.pending(last) == (layers[-1],)
    first = LEARNED.with_step(layers[0], Step("quantize", weight_bits=5, rounding="learned"))
    assert session.engine.pending(first) == tuple(layers)
    assert session.engine.pending(replace(LEARNED, calibration=replace(LEARNED.calibration, seed=1))) == tuple(layers)


def test_cancelling_keeps_the_layers_that_are_done(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = quick_learning(monkeypatch)
    with pytest.raises(Cancelled):
        session.engine.prepare(LEARNED, stop=lambda: len(heard) == 2)
    assert len(session.engine.pending(LEARNED)) == len(session.graph.weighted) - 2


def test_the_lane_answers_quickly_first_and_then_in_full(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_learning(monkeypatch)
    answers: list[Cost | Result] = []
    session.result_changed.connect(answers.append)
    session.set_plan(LEARNED, "learned")
    session.wait()
    kinds = [answer.quick for answer in answers if isinstance(answer, Result) and answer.plan_key == LEARNED.key]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"nearest, not learned", ""}
    assert not session.measured[LEARNED.key].result.quick


def test_tuned_biases_and_pruned_zeros_reach_the_program(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_learning(monkeypatch)
    plan = Plan(defaults=(Step("prune_weights", amount=0.5), LEARNED.defaults[0], Step("huffman")))
    engine = session.engine
    pruned = engine.encodings(Plan(defaults=plan.defaults[:1]))
    engine.prepare(plan)
    program = engine.program(plan)
    found = {op.nodes[0]: op for op in program.operations if op.weights is not None}
    assert set(found) == {layer.name for layer in engine.graph.weighted}
    changed = 0
    for name, encoding in engine.encodings(plan).items():
        assert not encoding.decode()[pruned[name].decode() == 0].any()
        own = engine.network.by_name[name].operator.bias
        weights, source = found[name].weights, found[name].input_formats[0]
        assert weights is not None
        assert source is not None
        real = weights.bias * (np.float64(source.scale) * weights.scale)
        changed += own is None or bool(np.abs(real - own.detach().numpy()).max() > 1e-3)
    assert changed > 0


def test_bias_correction_by_hand(session: Session) -> None:
    """The mean of the layer's output over all samples and places is the float network's again."""
    engine = session.engine
    plan = Plan(defaults=(Step("quantize", weight_bits=2, bias_correction=True),))
    statistics = engine.statistics(plan.calibration)
    layer = next(n for n in engine.graph.weighted if n.kind == "linear")
    mean = input_means(engine.network, layer, statistics)
    assert mean is not None
    operator = engine.network.by_name[layer.name].operator
    encoding = engine.encodings(plan)[layer.name]
    assert isinstance(encoding, Grid)
    bias = corrected_bias(operator, encoding, mean)
    own = 0.0 if operator.bias is None else operator.bias.detach().numpy()
    weight = operator.weight.detach().numpy().reshape(len(bias), -1).astype(np.float64)
    coarse = encoding.decode().reshape(len(bias), -1).astype(np.float64)
    assert np.allclose(coarse @ mean + bias, weight @ mean + own, atol=1e-4)
    float_output = statistics.tensors[layer.name].mean
    assert np.allclose(coarse @ mean + bias, float_output, atol=1e-3)


def test_corrected_biases_are_in_the_program_and_in_the_cost(session: Session) -> None:
    engine = session.engine
    plain, corrected = (Plan(defaults=(Step("quantize", weight_bits=2, bias_correction=c),)) for c in (False, True))
    assert engine.pending(corrected) == ()
    biases = [
        np.concatenate([op.weights.bias for op in engine.program(p).operations if op.weights is not None])
        for p in (plain, corrected)
    ]
    assert (biases[0] != biases[1]).any()
    assert engine.cost(plain).flash_bytes <= engine.cost(corrected).flash_bytes


def test_without_data_the_cost_is_there_and_all_is_pending(session: Session) -> None:
    engine = Engine(session.engine.network, session.engine.graph, {})
    assert engine.pending(LEARNED) == tuple(layer.name for layer in engine.graph.weighted)
    assert engine.cost(LEARNED).flash_bytes == session.engine.cost(LEARNED).flash_bytes
