"""16-bit activations: what they hold, what they cost, what each format makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core.errors import PlanError, Refused
from studio.core.plan import Activations, Plan, Step
from studio.lowering import execute
from studio.session import Session, demo

GRID = Step("quantize", weight_bits=8)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


def wide(session: Session, layers: dict[str, int] | None = None, bits: int | None = None) -> Plan:
    own = Activations(bits=bits, layers=layers or {})
    return replace(Plan(defaults=(GRID,)), activations=own, calibration=session.plan.calibration)


def test_a_wide_tensor_holds_the_nearest_of_65536_values(session: Session) -> None:
    name = session.graph.weighted[1].name
    program = session.engine.program(wide(session, {name: 16}))
    stored = next(info for info in program.tensors.values() if info.format is not None and info.format.bits == 16)
    assert stored.format is not None
    source = program.by_output[stored.name].inputs[0]
    assert session.engine.evaluator is not None
    x = torch.from_numpy(session.engine.evaluator.dataset.batch(np.arange(20)))
    found = execute.run_program(program, x, keep=[source, stored.name, f"{stored.name}:float"])
    q, scale, zero = found[stored.name].numpy(), np.float32(stored.format.scale), stored.format.zero_point
    assert q.dtype == np.int16
    expected = np.clip(np.rint(found[source].numpy() / scale) + zero, -32768, 32767)
    assert np.array_equal(q, expected.astype(np.int16))
    back = found[f"{stored.name}:float"].numpy()
    inside = np.abs(q.astype(np.int32)) < 32767
    assert np.abs(back - found[source].numpy())[inside].max() <= 0.502 * scale  # float32 rounds too


def test_wide_activations_come_closer_to_float_than_int8(session: Session) -> None:
    engine = session.engine
    reference = engine.outputs(Plan(), 4)[0]
    errors = [np.abs(engine.outputs(wide(session, bits=bits), 4)[0] - reference).mean() for bits in (8, 16, 32)]
    assert errors[0] > 1.5 * errors[1]
    assert errors[1] == pytest.approx(errors[2], rel=0.1)  # what is left is the weights' rounding


def test_ram_is_that_of_16_bit_tensors(session: Session) -> None:
    ram = {bits: session.engine.cost(wide(session, bits=bits)).peak_ram_bytes for bits in (8, 16, 32)}
    assert ram[16] == 2 * ram[8] == ram[32] / 2


def test_onnx_keeps_16_bits_and_other_formats_refuse_before_anything_is_written(
    session: Session, tmp_path: Path
) -> None:
    name = session.graph.weighted[2].name
    session.set_plan(wide(session, {name: 16}), "wide")
    session.cancel()
    manifest = session.export(tmp_path / "out", ("onnx",))
    (row,) = manifest["exports"]
    assert row["passed"]
    assert not manifest["full_integer"]
    import onnx

    model = onnx.load(tmp_path / "out" / "model.onnx")
    zeros = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT16}
    assert any(n.op_type == "QuantizeLinear" and n.input[2] in zeros for n in model.graph.node)
    for other in ("tflite", "packed"):
        with pytest.raises(Refused, match="16"):
            session.export(tmp_path / other, (other,))
        assert not list((tmp_path / other).glob("*"))


def test_other_widths_are_refused_with_the_choices() -> None:
    with pytest.raises(PlanError, match="8, 16 or 32"):
        Plan().with_activation("a", 12)
    plan = Plan().with_activation("a", 16)
    assert Plan.from_json(plan.to_json()) == plan
