"""A network in front of frames: MACs, the baseline `full`, class names, draws of frames."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from studio import formats
from studio.attention import crop_resize
from studio.core import paths
from studio.core.errors import DataError
from studio.data import Preprocess
from studio.data.frames import open_frames
from studio.engine.attend import attend, classifier, describe_at, resized
from studio.network.fold import fold

DEMO = paths.resource("demo")
SCALE = Preprocess(scale=1 / 255, mean=(0.36,) * 3, std=(0.17,) * 3)


def test_full_is_the_network_on_the_whole_frame() -> None:
    """The same weights at 128x128 against torch's own convolution stack fed by hand."""
    network = fold(formats.read(DEMO / "parts.onnx"))
    made = classifier(network, SCALE, frame=(128, 128))
    frame = open_frames(DEMO / "frames").frame(0)
    assert made.run_full is not None
    x = torch.from_numpy(((frame.astype(np.float32) * np.float32(1 / 255)) - np.float32(0.36)) / np.float32(0.17))
    expected = network(x.permute(2, 0, 1)[None].contiguous())[0].numpy()
    assert np.array_equal(made.run_full(frame[None]), expected)


def test_macs_by_hand() -> None:
    """First layer 3 -> 12, 3x3, at 32x32 and at 128x128: 16 times the work; the classifier's stays."""
    network = fold(formats.read(DEMO / "parts.onnx"))
    small, large = describe_at(network, SCALE, (32, 32)), describe_at(network, SCALE, (128, 128))
    assert small.layer("conv1").macs == 32 * 32 * 3 * 12 * 9
    assert large.layer("conv1").macs == 16 * small.layer("conv1").macs
    assert large.layer("fc").macs == small.layer("fc").macs == 48 * 6


def test_another_input_size_shares_the_weights() -> None:
    network = fold(formats.read(DEMO / "parts.onnx"))
    other = resized(network, (1, 3, 64, 48))
    assert other.input_shape == (1, 3, 64, 48)
    assert network.input_shape == (1, 3, 32, 32)
    assert other.by_name["fc"] is network.by_name["fc"]


def test_a_network_of_one_size_only_says_so(shared: Path) -> None:
    network = fold(formats.read(shared / "data" / "models" / "mnist_cnn_cntk.onnx"))
    made = classifier(network, Preprocess(), frame=(128, 128))
    assert made.run_full is None
    assert made.full_macs is None
    assert made.full_reason == "The network is not fully convolutional: it runs at 28x28 only."
    grey = crop_resize(np.full((40, 40, 3), 9, np.uint8), (0, 0, 40, 40), (28, 28))
    assert made.run(grey[None]).shape == (1, 10)


def test_a_network_that_takes_no_pictures_is_refused(shared: Path) -> None:
    network = fold(formats.read(shared / "data" / "models" / "mlperftiny_ad_autoencoder.onnx"))
    with pytest.raises(DataError, match="no pictures"):
        classifier(network, Preprocess())


def test_class_names_come_with_the_file_or_from_the_caller(tmp_path: Path) -> None:
    model = onnx.load(str(DEMO / "parts.onnx"))
    found = attend(DEMO / "frames", "centre", model=DEMO / "parts.onnx", samples=20)
    assert found["accuracy"] is not None
    helper.set_model_props(model, {"classes": "no JSON", "preprocess": '{"scale": 0.0039}'})
    onnx.save(model, str(tmp_path / "parts.onnx"))
    silent = attend(DEMO / "frames", "centre", model=tmp_path / "parts.onnx", samples=20)
    assert silent["accuracy"] is None
    assert silent["accuracy_note"] == "The network does not say which classes it knows."
    told = attend(
        DEMO / "frames", "centre", model=tmp_path / "parts.onnx", samples=20,
        classes=("gear", "nut", "bolt", "washer", "spring", "bracket"),
    )  # fmt: skip
    assert told["accuracy"] is not None


def test_a_draw_of_frames_is_seeded_and_checked() -> None:
    first = attend(DEMO / "frames", "edge_density", crop=(32, 32), samples=30, seed=1)
    again = attend(DEMO / "frames", "edge_density", crop=(32, 32), samples=30, seed=1)
    other = attend(DEMO / "frames", "edge_density", crop=(32, 32), samples=30, seed=2)
    assert first == again
    assert first["frames"] == 30
    assert first["iou_mean"] != other["iou_mean"]
    with pytest.raises(DataError, match="141 frames are asked for, there are 140"):
        attend(DEMO / "frames", "centre", crop=(32, 32), samples=141)


@pytest.mark.parametrize("hit", [0.0, 1.5, -1.0])
def test_an_impossible_hit_is_refused(hit: float) -> None:
    with pytest.raises(DataError, match="a hit cannot be"):
        attend(DEMO / "frames", "centre", crop=(32, 32), hit=hit)
