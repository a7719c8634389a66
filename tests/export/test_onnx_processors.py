"""Exported files on processors without VNNI, emulated: who saturates uint8 x int8 products, and what cures it."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from studio.core.encoding import Grid
from studio.export.targets.onnx import RISK, TARGET, saturation_risk
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.network import Network, Node
from studio.runtimes.onnxruntime import session_of

RUN = """
import json, sys
import numpy, onnxruntime
x, found = numpy.load("x.npy"), {}
for model in sys.argv[1:]:
    for option in "01":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.x64quantprecision", option)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found[model + " " + option] = session.run(None, {"x": x})[0].tolist()
print(json.dumps(found))
"""


def residual():
    """Two convolutions, a sum, a depthwise convolution, the mean, a classifier."""
    made = torch.Generator().manual_seed(5)

    def weights(*shape):
        return torch.randn(shape, generator=made) / math.sqrt(math.prod(shape[1:]))

    def conv(into, out, groups=1):
        return op.Conv(weights(out, into // groups, 3, 3), weights(out, 1)[:, 0], (1, 1), (1,) * 4, (1, 1), groups)

    layers = [
        ("x", (), op.Input((1, 16, 8, 8))),
        ("conv", ("x",), conv(16, 16)),
        ("relu", ("conv",), plain.Relu()),
        ("branch", ("relu",), conv(16, 16)),
        ("add", ("relu", "branch"), plain.Add()),
        ("depthwise", ("add",), conv(16, 16, 16)),
        ("mean", ("depthwise",), plain.GlobalAveragePool()),
        ("flat", ("mean",), plain.Reshape((16,))),
        ("fc", ("flat",), op.Linear(weights(10, 16), weights(10, 1)[:, 0])),
    ]
    return Network("residual", [Node(name, name, inputs, operator) for name, inputs, operator in layers], ["fc"])


def grid(weight, largest):
    weight = weight.numpy()
    scale = (np.abs(weight).reshape(len(weight), -1).max(1) / largest).astype(np.float32)
    return Grid(np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8), scale, 0, 8)


def lowered(largest):
    """Program whose integer weights reach `largest`, and samples."""
    network = residual()
    x = torch.randn((20, *network.input_shape[1:]), generator=torch.Generator().manual_seed(6))
    ranges = {}
    network.run((x,), visit=lambda n, v: ranges.__setitem__(n.name, (min(0, float(v.min())), max(0, float(v.max())))))
    encodings = {n.name: grid(n.operator.weight, largest) for n in network.nodes if n.kind in ("conv", "linear")}
    return lower(network, encodings, ranges), x


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """Outputs by (processor, model, option), and what the preview gives: full and half range, both containers."""
    if shutil.which("qemu-x86_64") is None or platform.machine() != "x86_64":
        pytest.skip("processors without VNNI were NOT TESTED: apt-get install qemu-user (x86-64 only)")
    folder = tmp_path_factory.mktemp("emulated")
    expected = {}
    for name, largest in (("full", 127), ("half", 64)):
        program, x = lowered(largest)
        assert saturation_risk(program) == (name == "full")
        ours = execute.run_program(program, x, "onnx")["fc:float"].numpy()
        np.save(folder / "x.npy", x.numpy())
        for container in ("int8", "uint8"):
            content = TARGET.write(program, {}, {"onnx_weights": container})
            (folder / f"{name}-{container}").write_bytes(content)
            expected[f"{name}-{container}"] = ours
            here = session_of(content).run(None, {"x": x.numpy()})[0]
            assert np.array_equal(here, ours)
    found = {}
    # A machine may say by OPENBLAS_* what its own processor is; the emulated one finds out for itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    for processor in ("Haswell", "Nehalem"):
        line = ["qemu-x86_64", "-cpu", processor, sys.executable, "-c", RUN, *expected]
        run = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        for key, value in json.loads(run.stdout.splitlines()[-1]).items():
            found[processor, *key.split()] = np.array(value, np.float32)
    return found, expected


PROCESSORS = pytest.mark.parametrize("processor", ["Haswell", "Nehalem"])


def test_full_range_weights_saturate_without_the_option(emulated):
    # AVX2 multiplies pairs into 16 bits; older processors without AVX2 are slow, and exact.
    found, expected = emulated
    assert (found["Haswell", "full-int8", "0"] != expected["full-int8"]).mean() > 0.1
    assert np.array_equal(found["Nehalem", "full-int8", "0"], expected["full-int8"])
    assert "x64quantprecision=1" in RISK
    assert "onnx_weights=uint8" in RISK


@PROCESSORS
def test_the_session_option_makes_them_exact(processor, emulated):
    found, expected = emulated
    assert np.array_equal(found[processor, "full-int8", "1"], expected["full-int8"])


@PROCESSORS
@pytest.mark.parametrize("option", ["0", "1"])
def test_weights_stored_as_uint8_are_exact_without_any_option(processor, option, emulated):
    found, expected = emulated
    assert np.array_equal(found[processor, "full-uint8", option], expected["full-uint8"])


@PROCESSORS
@pytest.mark.parametrize("option", ["0", "1"])
def test_weights_without_risk_are_exact_without_any_option(processor, option, emulated):
    found, expected = emulated
    assert np.array_equal(found[processor, "half-int8", option], expected["half-int8"])
