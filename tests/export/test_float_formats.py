"""`onnx-float` and `safetensors`: the float network that rewrites and pruning leave, under its own names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load, save

from studio.core import registry
from studio.core.plan import Activations, Plan, Step
from studio.core.technique import Stage
from studio.session import Session, demo

NAMES = ("onnx-float", "safetensors")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = demo.open_demo()
    session.cancel()
    yield session
    session.close()


@pytest.fixture
def exported(session: Session, tmp_path: Path) -> tuple[dict, Path]:
    plan = Plan(defaults=(Step("prune_weights", amount=0.5), Step("quantize", weight_bits=4)))
    session.set_plan(plan, "pruned, 4 bits")
    session.cancel()
    return session.export(tmp_path, NAMES), tmp_path


def test_files_hold_pruned_float_weights_and_agree_with_their_preview(
    session: Session, exported: tuple[dict, Path]
) -> None:
    manifest, folder = exported
    assert [row["passed"] for row in manifest["exports"]] == [True, True]
    assert [row["agreement"] for row in manifest["exports"]] == [1.0, 1.0]
    tensors = load((folder / "model.safetensors").read_bytes())
    model = onnx.load(folder / "model-float.onnx")
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for layer in session.graph.weighted:
        weight = session.engine.base.encoder.dense[layer.name].values
        found = tensors[f"{layer.name}.weight"]
        assert np.array_equal(found[found != 0], weight[found != 0])  # float, not the 15 values of 4 bits
        assert int((found == 0).sum()) >= found.size // 2
        assert np.array_equal(stored[f"{layer.name}.weight"], found)
    assert not any("Quantize" in node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_network_is_the_same_file(session: Session, name: str) -> None:
    target, program = registry.find("export.targets", name), session.engine.program(Plan())
    about = {"model": {"name": "Größe.onnx"}, "preprocess": {"scale": 0.5}}
    assert len({target.write(program, about, {}) for _ in range(8)}) == 1


def test_reading_back_notices_another_tensor(session: Session) -> None:
    target = registry.find("export.targets", "safetensors")
    program = session.engine.program(Plan())
    content = target.write(program, {"model": {"name": "demo"}}, {})
    assert target.differences(content, program, {}) == []
    tensors = load(content)
    name = next(iter(tensors))
    changed = {**tensors, name: tensors[name] + 1}
    assert target.differences(save(changed), program, {}) == [f"{name} differs"]
    del changed[name]
    assert target.differences(save(changed), program, {}) == [f"{name} is not in the file"]


def test_a_plan_without_stages_keeps_what_means_nothing_and_other_stages() -> None:
    plan = Plan(
        defaults=(Step("prune_weights", amount=0.5), Step("quantize")),
        layers={"a": (), "b": (Step("quantize", weight_bits=4),), "c": (Step.off("SPARSE"), Step("quantize"))},
        activations=Activations(bits=8, calibration="min_max", layers={"a": 32}),
    )
    found = plan.without_stages(Stage.GRID, Stage.CODE)
    assert found.defaults == (Step("prune_weights", amount=0.5),)
    assert dict(found.layers) == {"a": (), "c": (Step.off("SPARSE"),)}
    assert found.activations == Activations(calibration="min_max")


def test_formats_are_named_with_a_dash() -> None:
    assert set(NAMES) <= set(registry.names("export.targets"))
    for name in registry.names("export.targets"):
        assert registry.find("export.targets", name).name == name
