"""Bad model files: one sentence with file, place and remedy; nothing outside the folder is read."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from studio import formats
from studio.core.errors import FileError

WEIGHT = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3) / 10


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
    tensors: Sequence[TensorProto] | None = None,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    output: str = "y",
) -> ModelProto:
    """x (1, 3, 8, 8) -> one convolution named conv with the weight w, or other nodes."""
    nodes = nodes or [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    tensors = [numpy_helper.from_array(WEIGHT, "w")] if tensors is None else tensors
    graph = helper.make_graph(
        list(nodes), "g", list(inputs or [value("x", 1, 3, 8, 8)]), [value(output, "n", "c", "h", "w")], list(tensors)
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = ir
    return made


def refused(path: Path, *words: str) -> str:
    """Message of the StudioError that reading gives: one line, with the file, every word, and a remedy."""
    with pytest.raises(FileError) as caught:
        formats.read(path)
    message = str(caught.value)
    assert caught.value.remedy.endswith(".")
    assert caught.value.what.endswith(".")
    assert "\n" not in message
    assert path.name in message
    for word in words:
        assert word in message, message
    return message


def saved(made: ModelProto, tmp_path: Path, name: str = "a.onnx") -> Path:
    path = tmp_path / name
    path.write_bytes(made.SerializeToString())
    return path


# Files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    refused(tmp_path / "a.onnx", "no ordinary file")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    refused(tmp_path / ("a" * 300 + ".onnx"), "File name too long")


@pytest.mark.parametrize(
    ("start", "word"),
    [(b"PK\x03\x04", ".pt"), (b"\x89HDF\r\n\x1a\n", ".h5"), (b"\x1c\x00\x00\x00TFL3", ".tflite")],
)
def test_another_format_renamed(start: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(start + bytes(200))
    refused(tmp_path / "a.onnx", word)


# What is in them


@pytest.mark.parametrize(
    ("kind", "domain"),
    [
        ("QuantizeLinear", ""), ("DequantizeLinear", ""), ("QLinearConv", ""), ("QLinearMatMul", ""),
        ("ConvInteger", ""), ("MatMulInteger", ""), ("DynamicQuantizeLinear", ""), ("QLinearAdd", "com.microsoft"),
        ("QGemm", "com.microsoft"), ("QLinearGlobalAveragePool", "com.microsoft"), ("MatMulNBits", "com.microsoft"),
    ],
)  # fmt: skip
def test_quantized_file_is_said_to_be_just_that(kind: str, domain: str, tmp_path: Path) -> None:
    """Also behind an operator that is custom: what matters to the user is that it is quantized."""
    custom = helper.make_node("FusedThing", ["x"], ["f"], domain="com.microsoft")
    made = model([custom, helper.make_node(kind, ["f", "w", "w"], ["y"], name="q", domain=domain)])
    assert "already quantized" in refused(saved(made, tmp_path), "float model")


@pytest.mark.parametrize("opset", [7, 22])
def test_opsets_at_the_ends(opset: int, tmp_path: Path) -> None:
    assert formats.read(saved(model(opset=opset), tmp_path)).outputs == ("conv",)


def test_words_as_weights(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b"b"])
    refused(saved(model(tensors=[tensor]), tmp_path), "'w'")


@pytest.mark.parametrize(
    ("shape", "word"), [((1, 3, "h", "w"), "open size"), ((4, 3, 8, 8), "batch"), ((), "no shape"), ((1, 0, 8, 8), "")]
)
def test_inputs_that_cannot_be_fed(shape: tuple[int | str, ...], word: str, tmp_path: Path) -> None:
    refused(saved(model(inputs=[value("x", *shape)]), tmp_path), "'x'", word)


def big(*shape: int) -> TensorProto:
    return numpy_helper.from_array(np.array(shape, np.int64), "s")


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
        [helper.make_node("Expand", ["x", "s"], ["y"])],
        [helper.make_node("Expand", ["w", "s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
        [helper.make_node("Resize", ["x", "", "", "s"], ["y"])],
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[1 << 30, 1 << 30])],
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], dilations=[1 << 30, 1 << 30])],
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1 << 30] * 4)],
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1 << 30] * 4)],
        [helper.make_node("Pad", ["x", "s"], ["y"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_a_few_bytes_cannot_ask_for_all_memory(nodes: list[NodeProto], tmp_path: Path) -> None:
    kind = nodes[0].op_type
    sizes = {"Pad": [0] * 7 + [1 << 40], "Expand": [1 << 20, 1 << 12, 1, 1, 1, 1]}.get(kind, [1, 3, 1 << 20, 1 << 20])
    weight = WEIGHT.transpose(1, 0, 2, 3) if kind == "ConvTranspose" else WEIGHT[:1] if kind == "Expand" else WEIGHT
    tensors = [numpy_helper.from_array(np.ascontiguousarray(weight), "w"), big(*sizes)]
    message = refused(saved(model(nodes, tensors=tensors), tmp_path), kind)
    assert any(words in message for words in ("asks for", "too large", "pads [")), message


def test_growing_by_doubling_ends(tmp_path: Path) -> None:
    names = ["x", *(f"d{i}" for i in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=1, name=b) for a, b in itertools.pairwise(names)]
    refused(saved(model([*nodes, helper.make_node("Relu", [names[-1]], ["y"])]), tmp_path), "Concat", "asks for")
    stored = [helper.make_node("Concat", [a, a], [b], axis=0, name=b) for a, b in itertools.pairwise(["w", *names[1:]])]
    refused(saved(model([*stored, helper.make_node("Conv", ["x", names[-1]], ["y"])]), tmp_path), "Concat", "too large")


# Data beside the model


def outside(location: str, offset: object = 0, length: object = WEIGHT.nbytes) -> ModelProto:
    """Model whose weight lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", location), ("offset", offset), ("length", length)):
        if entry is not None:
            tensor.external_data.add(key=key, value=str(entry))
    return model(tensors=[tensor])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a model, beside it a secret that must not be read."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("location", "offset", "length"),
    [("a.data", 0, WEIGHT.nbytes), ("sub/a.data", None, None), ("a.data", 40, WEIGHT.nbytes), ("./a.data", 40, None)],
)
def test_external_data_inside_the_folder_works(
    location: str, offset: int | None, length: int | None, folder: Path
) -> None:
    file = folder / location
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(offset or 0) + WEIGHT.tobytes())
    network = formats.read(saved(outside(location, offset, length), folder))
    np.testing.assert_array_equal(network.by_name["conv"].operator.state_dict()["weight"].numpy(), WEIGHT)


@pytest.mark.parametrize(
    ("location", "make"),
    [
        ("../secret.bin", None),
        ("sub/../../secret.bin", None),
        ("/etc/passwd", None),
        ("link.bin", lambda f: (f / "link.bin").symlink_to(f.parent / "secret.bin")),
        ("sub/secret.bin", lambda f: (f / "sub").symlink_to(f.parent)),
        ("hard.bin", lambda f: os.link(f.parent / "secret.bin", f / "hard.bin")),
        ("", None),
        (".", None),
        ("nothing.bin", None),
        ("loop", lambda f: (f / "loop").symlink_to(f / "loop")),
    ],
)
def test_external_data_outside_the_folder_is_refused(
    location: str, make: Callable[[Path], None] | None, folder: Path
) -> None:
    (folder / "sub").mkdir() if ".." in location else None
    if make:
        make(folder)
    refused(saved(outside(location), folder), "'w'")


# When


def test_bad_files_are_told_before_torch_is_loaded(tmp_path: Path) -> None:
    path = saved(model([helper.make_node("LSTM", ["x"], ["y"], name="odd")]), tmp_path)
    code = (
        "import sys; from pathlib import Path; from studio import formats\n"
        "from studio.core.errors import StudioError\n"
        f"try: formats.read(Path({str(path)!r}))\n"
        "except StudioError as error: print(error); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, loaded = done.stdout.splitlines()
    assert "LSTM" in message
    assert loaded == "False"


def test_the_operators_known_without_torch_are_those_that_are_converted() -> None:
    from studio.formats._onnx import build, constants, converters, load, shaping

    assert converters.pads_of
    assert shaping.reshape_to
    assert load.SUPPORTED == {*build.CONVERTERS, *constants.FOLDED, *build.PASSED, "Constant", "Shape", "Size"}
