"""Model files that cannot be opened: one sentence with file, place and remedy, never another exception."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from studio import formats
from studio.core.errors import FileError, ModelError, StudioError

RANDOM = np.random.default_rng(1)


def small() -> onnx.ModelProto:
    """Conv, ReLU, max pool, flatten, linear: what the damage below is done to."""
    stored = {
        "conv.weight": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv.bias": RANDOM.normal(size=4).astype(np.float32),
        "fc.weight": RANDOM.normal(size=(5, 36)).astype(np.float32),
        "fc.bias": RANDOM.normal(size=5).astype(np.float32),
        "shape": np.array([0, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], "conv", pads=[0, 0, 0, 0]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("MaxPool", ["b"], ["c"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["c", "shape"], ["d"], "flat"),
        helper.make_node("Gemm", ["d", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in stored.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def message(path: Path, *words: str, kind: type[StudioError] = FileError) -> str:
    """The one sentence about a file, with what every one must have."""
    with pytest.raises(kind) as caught:
        formats.read(path)
    error = caught.value
    text = str(error)
    assert path.name in text
    assert "\n" not in text
    assert error.what.endswith(".")
    assert error.remedy.endswith((".", "?"))
    assert error.__suppress_context__ or error.__context__ is None
    for word in words:
        assert word in text
    return text


def test_the_undamaged_file_opens(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    onnx.save(small(), path)
    assert [node.name for node in formats.read(path).nodes] == ["x", "conv", "relu", "pool", "flat", "fc"]


def test_missing(tmp_path: Path) -> None:
    message(tmp_path / "none.onnx", "no such file")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    message(tmp_path / "model.onnx", "is a folder")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    message(tmp_path / "model.onnx", "is empty")


def test_text(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("Dear reader,\nthis is a letter and no network.\n" * 20)
    message(tmp_path / "model.onnx", "no ONNX file", kind=ModelError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small(), path)
    path.chmod(0)
    message(path, "cannot be read")


@pytest.mark.parametrize("name", ["lfs_pointer_armzoo.tflite", "lfs_pointer_mnist-12.onnx"])
def test_git_lfs_pointer(name: str, shared: Path) -> None:
    message(shared / "data" / "hostile" / name, "Git-LFS pointer", "git lfs pull")


def test_custom_operator(shared: Path) -> None:
    path = shared / "data" / "hostile" / "legit_customop_qonnx_TFC_2W2A.onnx"
    message(path, "custom operator", "Quant", kind=ModelError)


@pytest.mark.parametrize(
    "suffix", [".pt2", ".pt", ".pth", ".th", ".pth.tar", ".tflite", ".h5", ".keras", ".safetensors"]
)
def test_formats_that_are_known_but_not_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    text = message(path)
    assert any(way in text for way in ("torch.onnx.export", "tf2onnx", "--factory"))


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "model.xyz").write_bytes(b"abc")
    message(tmp_path / "model.xyz", ".onnx")


def test_checkpoints_are_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    text = f"cposix\nsystem\n(S'touch {canary}'\ntR."  # a pickle that runs a command
    for name in ("model.pth", "model.pt", "model.onnx"):
        (tmp_path / name).write_bytes(text.encode())
        message(tmp_path / name)
    assert not canary.exists()


Damage = Callable[[onnx.ModelProto], None]


def _node(kind: str, domain: str = "") -> Damage:
    def apply(model: onnx.ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = kind, domain

    return apply


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "c"


def _dangling(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def _constant_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "fc.weight"


def _twice(model: onnx.ModelProto) -> None:
    model.graph.node[2].output[0] = "a"


def _size(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 5


def _huge(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def _negative(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -4


def _unfit(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].dims[:] = [36, 5]


def _value(value: float) -> Damage:
    def apply(model: onnx.ModelProto) -> None:
        weights = np.array(numpy_helper.to_array(model.graph.initializer[0]))
        weights[1, 2, 0, 0] = value
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "conv.weight"))

    return apply


def _opset(version: int) -> Damage:
    def apply(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return apply


def _ir(version: int) -> Damage:
    def apply(model: onnx.ModelProto) -> None:
        model.ir_version = version

    return apply


def _no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


DAMAGES: dict[str, tuple[Damage, list[str]]] = {
    "If": (_node("If"), ["If is not supported", "'relu'", "control flow"]),
    "Loop": (_node("Loop"), ["Loop is not supported", "'relu'"]),
    "custom": (_node("Spike", "com.acme"), ["com.acme", "custom operator Spike", "'relu'"]),
    "unknown": (_node("Einsum"), ["Einsum is not supported", "'relu'"]),
    "quantized": (_node("QuantizeLinear"), ["is already quantized"]),
    "quantized elsewhere": (_node("QLinearSigmoid", "com.microsoft"), ["is already quantized"]),
    "dynamically quantized": (_node("DynamicQuantizeLinear"), ["is already quantized"]),
    "cycle": (_cycle, ["'conv'", "reads 'c'", "a cycle"]),
    "dangling": (_dangling, ["'relu'", "reads 'nowhere'", "nothing computes"]),
    "output that nothing computes": (_output, ["'nowhere'", "no node"]),
    "output that is stored": (_constant_output, ["'fc.weight'", "constant"]),
    "written twice": (_twice, ["'pool'", "'a'", "already"]),
    "bytes that do not fit": (_size, ["'conv.weight'", "do not fit", "[5, 3, 3, 3]"]),
    "huge shape": (_huge, ["'conv.weight'", "shape"]),
    "negative shape": (_negative, ["'conv.weight'", "shape"]),
    "weights of another layer": (_unfit, ["'fc'", "does not fit its inputs"]),
    "NaN": (_value(np.nan), ["'conv.weight'", "NaN"]),
    "infinite": (_value(np.inf), ["'conv.weight'", "infinite"]),
    "opset 6": (_opset(6), ["opset 6", "7 to 22"]),
    "opset 23": (_opset(23), ["opset 23", "7 to 22"]),
    "IR 2": (_ir(2), ["IR version 2"]),
    "IR of the future": (_ir(99), ["IR version 99"]),
    "no nodes": (_no_nodes, ["no network"]),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    model = small()
    damage, words = DAMAGES[case]
    damage(model)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    message(path, *words, kind=ModelError)


def test_our_own_int8_files_are_said_to_be_quantized(tmp_path: Path) -> None:
    model = small()
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "s"))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(3), "z"))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]))
    model.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["f"]))
    model.graph.node[2].input[0] = "f"
    path = tmp_path / "int8.onnx"
    onnx.save(model, path)
    message(path, "the file is already quantized", "float model", kind=ModelError)


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """Model in a folder of its own with all tensors in `data.bin` beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save_model(small(), path, save_as_external_data=True, location="data.bin", size_threshold=0)
    return path


def entry(path: Path, key: str, value: str) -> None:
    """Change what the file says of where the first tensor lies."""
    model = onnx.load(path, load_external_data=False)
    data = model.graph.initializer[0].external_data
    kept = [(e.key, e.value) for e in data if e.key != key]
    del data[:]
    data.extend(onnx.StringStringEntryProto(key=k, value=v) for k, v in [*kept, (key, value)])
    path.write_bytes(model.SerializeToString())


def test_good_external_data(external: Path) -> None:
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(external).graph.initializer}
    operator = formats.read(external).by_name["conv"].operator
    assert np.array_equal(operator.state_dict()["weight"].numpy(), stored["conv.weight"])


@pytest.mark.parametrize("way", ["..", "absolute", "deep"])
def test_external_data_outside_the_folder(way: str, external: Path) -> None:
    shutil.copy(external.parent / "data.bin", external.parent.parent / "data.bin")
    outside = {"..": "../data.bin", "absolute": str(external.parent.parent / "data.bin"), "deep": "a/../../data.bin"}
    entry(external, "location", outside[way])
    message(external, "'conv.weight'", "outside the model's folder", kind=ModelError)


@pytest.mark.parametrize("parent", [False, True])
def test_external_data_behind_a_link_out(parent: bool, external: Path) -> None:
    away = external.parent.parent / "away"
    away.mkdir()
    (external.parent / "data.bin").rename(away / "data.bin")
    if parent:
        (external.parent / "sub").symlink_to(away)
        entry(external, "location", "sub/data.bin")
    else:
        (external.parent / "data.bin").symlink_to(away / "data.bin")
    message(external, "'conv.weight'", "outside the model's folder", kind=ModelError)


def test_external_data_that_is_missing(external: Path) -> None:
    (external.parent / "data.bin").unlink()
    message(external, "'conv.weight'", "'data.bin' is missing", "beside the model", kind=ModelError)


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("value", ["-1", "many", "1e3", "99999999", "9" * 30, "", "٣"])
def test_external_data_at_impossible_places(key: str, value: str, external: Path) -> None:
    entry(external, key, value)
    message(external, "'conv.weight'", kind=ModelError)


def test_external_data_cut_off(external: Path) -> None:
    data = external.parent / "data.bin"
    data.write_bytes(data.read_bytes()[:100])
    message(external, "do not fit", "'data.bin'", kind=ModelError)


def outcome(content: bytes, path: Path) -> str:
    """Open a damaged file and run it: what may come of it is a StudioError or finite work, nothing else."""
    path.write_bytes(content)
    try:
        network = formats.read(path)
    except StudioError as error:
        return "refused" if str(error).isprintable() else f"unreadable: {error!r}"
    network(torch.zeros((1, *network.input_shape[1:])))
    return "opened"


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_truncated_at_any_place(tmp_path: Path) -> None:
    whole = small().SerializeToString()
    found = [outcome(whole[:end], tmp_path / "cut.onnx") for end in range(1, len(whole), 7)]
    assert set(found) == {"refused"}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes(seed: int, tmp_path: Path) -> None:
    """A hundred files with one to eight bytes changed, most of them outside the weights."""
    whole = small().SerializeToString()
    heavy = whole.index(b"conv.weight", whole.index(b"fc"))  # stored tensors begin here
    random, began, found = np.random.default_rng(seed), time.perf_counter(), []
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(int(random.integers(1, 9))):
            place = int(random.integers(heavy if random.random() < 0.7 else len(whole)))
            content[place] = int(random.integers(256))
        found.append(outcome(bytes(content), tmp_path / "flipped.onnx"))
    assert time.perf_counter() - began < 20
    assert {"refused", "opened"} == set(found)


@pytest.mark.parametrize(
    ("name", "quantized"),
    [
        ("mlperftiny_ic_resnet8_int8", True),
        ("traffic_signs43_cnn_dynrange", True),
        ("mlperftiny_ic_resnet8_fp32", False),
    ],
)
def test_quantized_tflite_files_are_said_to_be_so(name: str, quantized: bool, shared: Path) -> None:
    text = message(shared / "data" / "models" / f"{name}.tflite")
    assert ("already quantized" in text) == quantized
    assert ("tf2onnx" in text) != quantized


def test_weights_alone_name_the_way_by_a_factory(shared: Path) -> None:
    message(shared / "data" / "models" / "cifar10_smallcnn_wml_state_dict.pth", "--factory")


def test_arrays_are_data_and_no_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.zeros(3))
    message(tmp_path / "samples.npz", "data and no network", "--train-data")
