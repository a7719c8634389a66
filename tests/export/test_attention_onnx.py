"""attention.onnx and pipeline.onnx in ONNX Runtime: the box, score, pixels and answers of Python, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from studio.attention import Stage
from studio.core import paths
from studio.core.errors import ExportError, PlanError
from studio.core.plan import Attention
from studio.data import Preprocess, prepare
from studio.data.frames import Frames, open_frames
from studio.export._attention import join, write_attention

DEMO = paths.resource("demo")
PREPROCESS = {"layout": "NCHW", "channels": "RGB", "scale": 1 / 255, "mean": [0.36] * 3, "std": [0.17] * 3}


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options)


def same(attention: Attention, frames: list[np.ndarray], size: tuple[int, int]) -> int:
    """How many frames give another box, score or pixel in ONNX Runtime."""
    shape = frames[0].shape[0], frames[0].shape[1]
    runner = session(write_attention(attention, shape, size))
    stage = Stage.of(attention.selector, attention.settings, frame=shape, size=size, crop=attention.crop)
    wrong = 0
    for frame in frames:
        box, score, crop = runner.run(["box", "score", "crop"], {"frame": frame})
        found = stage.select(frame)
        good = tuple(box.tolist()) == found.box and int(score) == found.score
        wrong += not (good and np.array_equal(crop, stage.cut(frame, found)))
    return wrong


def all_of(frames: Frames, step: int = 1) -> list[np.ndarray]:
    return [frames.frame(i) for i in range(0, frames.count, step)]


def test_every_frame_of_the_demo() -> None:
    frames = all_of(open_frames(DEMO / "frames"))
    assert len(frames) == 140
    assert same(Attention("edge_density"), frames, (32, 32)) == 0
    assert same(Attention("edge_density", {"channel": "colour", "reduce": 3}, (45, 51)), frames, (32, 32)) == 0


def test_real_photographs(shared: Path) -> None:
    frames = all_of(open_frames(shared / "data" / "attention" / "bccd_blood_cells"), 6)
    assert len(frames) >= 60
    assert same(Attention("edge_density", {}, (256, 240)), frames, (32, 32)) == 0


@pytest.mark.parametrize("channel", ["both", "luma", "colour", "red", "green", "blue"])
@pytest.mark.parametrize(
    "settings",
    [
        {"reduce": 1, "levels": 1, "floor": 0, "stride": 1},
        {"reduce": 5, "levels": 4, "stride": 7, "margin": 6},
        {"reduce": 2, "levels": 2, "stride": 64, "floor": 128},
    ],
)
def test_all_channels_and_extreme_settings(channel: str, settings: dict[str, int]) -> None:
    random = np.random.default_rng(3)
    noise = [random.integers(0, 256, (61, 83, 3), np.uint8) for _ in range(3)]
    extremes = [np.zeros((61, 83, 3), np.uint8), np.full((61, 83, 3), 255, np.uint8), noise[0] // 128 * 255]
    attention = Attention("edge_density", {"channel": channel, **settings}, (33, 40))
    assert same(attention, [*noise, *extremes], (24, 28)) == 0


@pytest.mark.parametrize("selector", ["centre", "scaled"])
def test_baselines(selector: str) -> None:
    frames = all_of(open_frames(DEMO / "frames"), 20)
    assert same(Attention(selector, {}, (41, 64)), frames, (32, 32)) == 0


def test_types_and_shapes_are_those_of_the_interface() -> None:
    runner = session(write_attention(Attention("edge_density"), (60, 80), (32, 24)))
    described = [(v.name, v.type, v.shape) for v in (*runner.get_inputs(), *runner.get_outputs())]
    assert described == [
        ("frame", "tensor(uint8)", [60, 80, 3]),
        ("box", "tensor(int32)", [4]),
        ("score", "tensor(int32)", []),
        ("crop", "tensor(uint8)", [32, 24, 3]),
    ]


def test_there_are_only_integers() -> None:
    model = onnx.load_from_string(write_attention(Attention("edge_density", {}, (48, 48)), (128, 128), (32, 32)))
    integers = {TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert types | {t.data_type for t in model.graph.initializer} == integers


def test_the_pipeline_is_the_stage_and_then_the_network() -> None:
    network = (DEMO / "parts.onnx").read_bytes()
    alone = session(network)
    both = session(join(write_attention(Attention("edge_density"), (128, 128), (32, 32)), network, PREPROCESS))
    assert [o.name for o in both.get_outputs()] == ["box", "score", "logits"]
    stage = Stage.of("edge_density", {}, frame=(128, 128), size=(32, 32))
    for frame in all_of(open_frames(DEMO / "frames"), 4):
        found = stage.select(frame)
        x = prepare([stage.cut(frame, found)], Preprocess.from_json(PREPROCESS), (1, 3, 32, 32))
        box, score, logits = both.run(None, {"frame": frame})
        assert tuple(box.tolist()) == found.box
        assert int(score) == found.score
        assert np.array_equal(logits, alone.run(None, {"input": x})[0])


def copying(shape: list[Any], *, name: str = "input", opset: int = 17, inputs: int = 1) -> bytes:
    """A network that hands on what it gets; its tensors bear the names that the attention stage uses."""
    nodes = [helper.make_node("Add", [name, "score"], ["box"]), helper.make_node("Neg", ["box"], ["crop"])]
    graph = helper.make_graph(
        nodes,
        "copy",
        [
            helper.make_tensor_value_info(name if i == 0 else f"more{i}", TensorProto.FLOAT, shape)
            for i in range(inputs)
        ],
        [helper.make_tensor_value_info("crop", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.zeros(1, np.float32), "score")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "preprocess"),
    [
        (["N", 3, 16, 16], {"scale": 0.1, "mean": [1.0, 2.0, 3.0], "std": [0.3, 0.7, 1.1]}),
        ([1, 3, 16, 16], {"channels": "BGR", "mean": [5.0], "std": [3.0]}),
        (["N", 16, 16, 3], {"layout": "NHWC", "scale": 1 / 255}),
        (["N", 1, 16, 16], {"channels": "L", "layout": "NCHW", "std": [7.0]}),
    ],
)
def test_preprocessing_in_the_graph_is_the_readers_bit_for_bit(shape: list[Any], preprocess: dict[str, Any]) -> None:
    """Names that collide with ours are renamed in the network; its output is the negated input."""
    stage = Stage.of("centre", {}, frame=(40, 50), size=(16, 16))
    both = session(join(write_attention(Attention("centre"), (40, 50), (16, 16)), copying(shape), preprocess))
    frame = np.random.default_rng(5).integers(0, 256, (40, 50, 3), np.uint8)
    x = prepare([stage.cut(frame, stage.select(frame))], Preprocess.from_json(preprocess), (1, *shape[1:]))
    box, _, copied = both.run(None, {"frame": frame})
    assert box.tolist() == [17, 12, 33, 28]
    assert np.array_equal(copied, -x)


def test_what_does_not_fit_is_refused() -> None:
    stage = write_attention(Attention("centre"), (40, 50), (16, 16))
    with pytest.raises(ExportError, match="the network takes"):
        join(stage, copying(["N", 3, 32, 32]), {})
    with pytest.raises(ExportError, match="the network takes"):
        join(stage, copying(["N", 1, 16, 16]), {})
    with pytest.raises(ExportError, match="opset 11"):
        join(stage, copying(["N", 3, 16, 16], opset=11), {})
    with pytest.raises(ExportError, match="2 inputs"):
        join(stage, copying(["N", 3, 16, 16], inputs=2), {})
    with pytest.raises(ExportError, match="no attention stage"):
        write_attention(Attention("full"), (40, 50), (16, 16))
    with pytest.raises(PlanError, match="margin"):
        write_attention(Attention("edge_density", {"margin": 8}), (40, 50), (16, 16))
