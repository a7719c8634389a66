"""Networks in torch answer as the file does in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio import formats
from studio.runtimes.onnxruntime import OnnxRunner
from studio.runtimes.torch import TorchRunner


@pytest.mark.parametrize("name", ["mnist_cnn_cntk", "kws_dscnn_alibaba"])
def test_a_network_answers_as_its_file(name, shared):
    path = shared / "data" / "models" / f"{name}.onnx"
    with OnnxRunner(path) as file, TorchRunner(formats.read(path)) as network:
        assert network.name == f"torch {torch.__version__}"
        assert network.input_shape == file.input_shape
        x = np.random.default_rng(0).normal(size=(3, *file.input_shape[1:])).astype(np.float32)
        for ours, theirs in zip(network.run(x), file.run(x), strict=True):
            assert ours.dtype == np.float32
            assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
        assert network.tensors(x, ["conv"]) == {}


def test_latency_is_taken_on_one_thread_and_leaves_the_others(shared, monkeypatch):
    path = shared / "data" / "models" / "mnist_cnn_cntk.onnx"
    threads = []
    before = torch.get_num_threads()
    with TorchRunner(formats.read(path)) as network:
        forward = network._network.forward
        monkeypatch.setattr(
            network._network, "forward", lambda x: (threads.append(torch.get_num_threads()), forward(x))
        )
        median, p90 = network.latency(np.zeros((2, *network.input_shape[1:]), np.float32))
    assert set(threads) == {1}
    assert torch.get_num_threads() == before
    assert 0 < median <= p90
