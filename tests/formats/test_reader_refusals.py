"""ONNX files that the reader refuses: what it says, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from studio import formats
from studio.core.errors import ModelError
from tests.formats.tiny import SCALES, File, ints, one, resized, weights


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["N", 4, 3]))
    model.graph.node.append(helper.make_node("Add", ["y", "x2"], ["z"]))
    model.graph.output[0].name = "z"


def no_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def no_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].CopyFrom(helper.make_node("ConstantOfShape", ["c"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(ints(2, 3), "c"))


def integers(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


BAD_INPUTS: dict[str, tuple[Callable[[onnx.ModelProto], None], list[str]]] = {
    "two inputs": (two_inputs, ["2 inputs ('x', 'x2')", "only one is supported"]),
    "open size": (no_size, ["'x'", "open size", "fixed"]),
    "no input": (no_input, ["no input"]),
    "integers": (integers, ["'x'", "integers"]),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_inputs_that_samples_cannot_be_fed_to(case: str, tmp_path: Path) -> None:
    model = one("Relu", shape=(4, 3)).model()
    damage, words = BAD_INPUTS[case]
    damage(model)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError) as caught:
        formats.read(path)
    for word in [*words, "bad.onnx"]:
        assert word in str(caught.value)


REFUSED: dict[str, tuple[File, str]] = {
    "convolution over three axes": (one("Conv", weights(2, 3, 2, 2, 2), shape=(3, 4, 4, 4)), "3 axes"),
    "computed weights": (File((4, 4), [("Conv", ["x", "x"], ["y"], {})]), "computed, not stored"),
    "computed bounds": (
        File((4, 3), [("ReduceMean", ["x"], ["m"], {"axes": [1, 2]}), ("Clip", ["x", "m"], ["y"], {})]), "computed"),
    "computed shape": (
        File((4, 3), [("Cast", ["x"], ["s"], {"to": TensorProto.INT64}), ("Reshape", ["x", "s"], ["y"], {})]),
        "integers"),
    "mean of the batch": (one("ReduceMean", axes=[0, 1]), "batch"),
    "wrapped edge": (one("Pad", ints(0, 0, 1, 1, 0, 0, 1, 1), mode="wrap", opset=21), "wrap"),
    "cubic": (resized(None, SCALES, mode="cubic"), "cubic"),
    "antialias": (resized(None, SCALES, mode="linear", antialias=1, opset=21), "antialias"),
    "channels resized": (resized(None, np.float32([1, 2, 1, 1])), "channels"),
    "softmax over three axes": (one("Softmax", opset=11), "several axes"),
    "places of the largest": (
        File((4, 9, 9), [("MaxPool", ["x"], ["y", "i"], {"kernel_shape": [2, 2]})], outputs=("y",)), "places"),
    "the mask of a dropout": (
        File((4, 3), [("Dropout", ["x"], ["y", "m"], {}), ("Cast", ["m"], ["z"], {"to": 1})], outputs=("z",)), "'m'"),
    "unknown": (one("Erf"), "Erf is not supported"),
    "too few weights": (one("Conv", weights(6, 3, 3, 3)), "does not fit"),
    "more than all memory": (one("Expand", ints(1 << 20, 1 << 20), shape=(1,)), "asks for a tensor"),
    "a split of other sizes": (
        File((7, 3), [("Split", ["x", "s"], ["y", "z"], {"axis": 1})], {"s": ints(1, 4)}), "its parts [1, 4]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_said_with_node_and_remedy(case: str, tmp_path: Path) -> None:
    file, words = REFUSED[case]
    with pytest.raises(ModelError) as caught:
        formats.read(file.write(tmp_path))
    error = caught.value
    assert words in error.what
    assert "one.onnx: " in error.where
    assert error.remedy.endswith((".", "?"))
    assert "\n" not in str(error)
