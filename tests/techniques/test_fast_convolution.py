"""Fast convolutions against direct ones in float64 by scipy, and in integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from studio.core.graph import Layer
from studio.core.plan import Plan, Step
from studio.network.cost import describe
from studio.network.network import Network, Node
from studio.network.operators import Conv, Input
from studio.session import demo
from studio.techniques import _fast_kernels as kernels
from studio.techniques.fast_convolution import TECHNIQUE, FastConvolutionSettings

PADS = st.tuples(*[st.integers(0, 3)] * 4)
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(3, 13), st.integers(3, 13))


def direct(x: np.ndarray, weight: np.ndarray, pads: tuple[int, ...]) -> np.ndarray:
    """Sum of scipy's correlations over the input channels, in the type of its arguments."""
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    return np.array([[sum(map(lambda a, b: correlate2d(a, b, "valid"), one, f)) for f in weight] for one in x])


@pytest.mark.parametrize("size", [2, 4])
@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, pads=PADS, seed=st.integers(0, 99))
def test_winograd_is_the_direct_convolution(
    size: int, sizes: tuple[int, ...], pads: tuple[int, ...], seed: int
) -> None:
    samples, outputs, inputs, height, width = sizes
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((samples, inputs, height, width))
    weight = generator.standard_normal((outputs, inputs, 3, 3))
    transformed = kernels.winograd_weights(torch.from_numpy(weight), size)
    assert transformed.shape == ((size + 2) ** 2, outputs, inputs)
    found = kernels.winograd(torch.from_numpy(x), transformed, size, pads).numpy()
    np.testing.assert_allclose(found, direct(x, weight, pads), atol=1e-11)


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, pads=PADS, seed=st.integers(0, 99), extreme=st.booleans())
def test_integer_winograd_is_four_times_the_accumulator_exactly(
    sizes: tuple[int, ...], pads: tuple[int, ...], seed: int, extreme: bool
) -> None:
    samples, outputs, inputs, height, width = sizes
    generator = np.random.default_rng(seed)
    draw = (lambda shape: generator.choice([-128, 127], shape)) if extreme else (
        lambda shape: generator.integers(-128, 128, shape)
    )  # fmt: skip
    x, q = draw((samples, inputs, height, width)).astype(np.int32), draw((outputs, inputs, 3, 3)).clip(-127)
    transformed = kernels.winograd_integers(torch.from_numpy(q.astype(np.int8)))
    assert transformed.dtype == torch.int16
    assert int(transformed.abs().max()) <= 1143  # 9 x 127
    found = kernels.winograd(torch.from_numpy(x), transformed, 2, pads)
    assert found.dtype == torch.int32
    assert found.numpy().tolist() == (4 * direct(x, q.astype(np.int32), pads)).tolist()


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, pads=PADS, kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 99))
def test_fft_is_the_direct_convolution(
    sizes: tuple[int, ...], pads: tuple[int, ...], kernel: tuple[int, int], seed: int
) -> None:
    samples, outputs, inputs, height, width = sizes
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((samples, inputs, height + 6, width + 6))
    weight = generator.standard_normal((outputs, inputs, *kernel))
    spectra = kernels.fft_sizes(height + 6 + pads[0] + pads[2], width + 6 + pads[1] + pads[3])
    transformed = kernels.fft_weights(torch.from_numpy(weight), spectra)
    found = kernels.fft(torch.from_numpy(x), transformed, kernel, pads).numpy()
    np.testing.assert_allclose(found, direct(x, weight, pads), atol=1e-11)


def conv_layer(kernel: tuple[int, ...] = (3, 3), channels: tuple[int, int] = (8, 6), **changes: Any) -> Layer:
    facts: dict[str, Any] = {"stride": (1, 1), "pads": (1, 1, 1, 1), "dilation": (1, 1)}
    shape = changes.pop("weight_shape", (*channels, *kernel))
    kind = changes.pop("kind", "conv")
    return Layer("conv1", "conv1", kind, "", (), (), (1, 8, 8, 8), shape, 0, 0, 0, None, **{**facts, **changes})


def test_multiplications_and_bytes_by_hand() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 6, 3, 3)).astype(np.float32)
    two = TECHNIQUE.facts(
        conv_layer(), FastConvolutionSettings(algorithm="winograd2"), weight, (1, 6, 8, 8), timed=False
    )
    assert two.multiplications_direct == 8 * 6 * 9 * 64
    assert two.multiplications == 8 * 6 * 16 * 16  # 4 x 4 tiles of 16 products
    assert two.saved == pytest.approx(1 - 16 / 36)
    assert two.transformed_bytes * 9 == two.weight_bytes * 16
    assert two.int8_transformed_bytes == 32 * 8 * 6  # int16
    assert two.int8_weight_bytes == 9 * 8 * 6
    assert two.int8_error == 0
    assert two.float_error < 2e-6
    assert (two.direct_ms, two.fast_ms, two.faster) == (None, None, False)
    four = TECHNIQUE.facts(
        conv_layer(), FastConvolutionSettings(algorithm="winograd4"), weight, (1, 6, 9, 8), timed=False
    )
    assert four.multiplications == 8 * 6 * 36 * 3 * 2  # 9 rows need three tiles
    assert four.transformed_bytes * 9 == four.weight_bytes * 36
    assert 1e-9 < four.float_error < 1e-4
    assert TECHNIQUE.facts(conv_layer(), FastConvolutionSettings(), weight, (1, 6, 8, 8), timed=False).algorithm == (
        "winograd4"
    )


def test_fft_counts_its_transforms() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 2, 7, 7)).astype(np.float32)
    layer = conv_layer((7, 7), (4, 2), pads=(3, 3, 3, 3))
    found = TECHNIQUE.facts(layer, FastConvolutionSettings(), weight, (1, 2, 26, 26), timed=False)
    assert found.algorithm == "fft"
    products = 4 * 4 * 2 * 32 * 17  # 26 + 6 = 32
    assert found.multiplications == products + 6 * 32 * 32 * 10
    assert found.transformed_bytes == 32 * 17 * 8 * 8
    assert found.int8_error == 0  # far below half a unit in float32


def test_times_are_measured_side_by_side_and_said() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 6, 3, 3)).astype(np.float32)
    found = TECHNIQUE.facts(conv_layer(), FastConvolutionSettings(), weight, (1, 6, 8, 8))
    assert found.direct_ms is not None
    assert found.fast_ms is not None
    assert found.faster == (found.fast_ms <= 0.95 * found.direct_ms)
    assert ("not faster" in found.sentence) == (not found.faster)
    assert found.threads == torch.get_num_threads()


@pytest.mark.parametrize(
    ("layer", "algorithm", "reason"),
    [
        (conv_layer(stride=(2, 1)), "auto", "needs stride 1; conv1 has stride 2"),
        (conv_layer(dilation=(1, 2)), "auto", "dilation 2"),
        (conv_layer(channels=(8, 1), groups=8), "winograd2", "depthwise"),
        (conv_layer(groups=2), "winograd2", "grouped"),
        (conv_layer((5, 5)), "winograd4", "3x3 kernels; conv1 has 5x5"),
        (conv_layer((3, 3)), "fft", "nothing below 5x5; conv1 has 3x3"),
        (conv_layer((1, 1)), "auto", "conv1 has 1x1"),
        (conv_layer(weight_shape=(8, 6, 9)), "auto", "height and width"),
        (conv_layer(kind="conv_transpose"), "auto", "height and width"),
    ],
)
def test_refusals(layer: Layer, algorithm: str, reason: str) -> None:
    found = TECHNIQUE.refuses(layer, FastConvolutionSettings(algorithm=algorithm))
    assert found is not None
    assert reason in found


def test_what_it_takes() -> None:
    for kernel, algorithm in (((3, 3), "auto"), ((3, 3), "winograd4"), ((5, 1), "fft"), ((7, 7), "auto")):
        assert TECHNIQUE.refuses(conv_layer(kernel), FastConvolutionSettings(algorithm=algorithm)) is None


def test_the_graph_tells_stride_pads_and_dilation() -> None:
    conv = Conv(torch.zeros(4, 3, 3, 3), None, (2, 1), (1, 0, 2, 1), (1, 2), 1)
    net = Network("net", [Node("x", "x", (), Input((1, 3, 9, 9))), Node("c", "c", ("x",), conv)], ("c",))
    layer = describe(net).layer("c")
    assert (layer.stride, layer.pads, layer.dilation) == ((2, 1), (1, 0, 2, 1), (1, 2))


def test_a_plan_with_it_has_the_same_bytes_and_results() -> None:
    session = demo.open_demo()
    session.cancel()
    try:
        fast = Plan(defaults=(Step("fast_convolution"), Step("quantize")))
        plain = Plan(defaults=(Step("quantize"),))
        assert session.engine.cost(fast).flash_bytes == session.engine.cost(plain).flash_bytes
        ours, theirs = (session.engine.outputs(plan, 1)[0] for plan in (fast, plain))
        assert np.array_equal(ours, theirs)
    finally:
        session.close()
