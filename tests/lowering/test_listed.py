"""Operators that runtimes round otherwise: every function of the table against the real runtime."""

import numpy as np
import pytest
import torch

from studio.lowering import execute
from studio.lowering.forms import FIXED
from studio.lowering.program import Operation, TensorFormat
from studio.network import operators_plain as plain

ALL = np.arange(-128, 128).astype(np.int8).reshape(1, 256, 1, 1)


def listed(kind, operator, source, target):
    settings = operator.settings() if operator is not None else {}
    return Operation(
        kind, ("op",), ("x",), "op", True, settings=settings, operator=operator, listed=True,
        input_formats=(source,), output_format=target,
    )  # fmt: skip


def ours(operation, x, target):
    return execute.run(operation, [torch.from_numpy(x)], target).numpy()


def in_onnx(runtimes, kind, x, source, target, **attributes):
    graph = runtimes.Onnx()
    return graph.run(graph.node(kind, [graph.input(x.shape, source)], "op", **attributes), target, [x])


def in_tflite(runtimes, code, x, source, target, options=None, shape=None, version=2):
    graph = runtimes.Tflite()
    last = runtimes.last(x)
    y = graph.tensor(shape or last.shape, form=target)
    graph.operator(code, [graph.input(last.shape, source)], y, options, version)
    return runtimes.first(graph.run(y, [last]))


UNARY = {
    "sigmoid": (plain.Sigmoid(), "Sigmoid", {}, "LOGISTIC", None, 2),
    "tanh": (plain.Tanh(), "Tanh", {}, "TANH", None, 2),
    "leaky_relu": (
        plain.LeakyRelu(0.1),
        "LeakyRelu",
        {"alpha": 0.1},
        "LEAKY_RELU",
        ("LeakyReluOptions", {"alpha": 0.1}),
        2,
    ),
    "hard_swish": (plain.HardSwish(), "HardSwish", {}, "HARD_SWISH", ("HardSwishOptions", {}), 1),
}


@pytest.mark.parametrize("kind", UNARY)
def test_unary_tables_equal_the_runtimes_on_all_values(kind, random, runtimes):
    operator, name, attributes, code, options, version = UNARY[kind]
    for _ in range(25):
        source = runtimes.form(random)
        target = FIXED.get(kind) or runtimes.form(random, source.scale * random.uniform(0.3, 1.2))
        operation = listed(kind, operator, source, target)
        assert (ours(operation, ALL, "onnx") == in_onnx(runtimes, name, ALL, source, target, **attributes)).all()
        found = in_tflite(runtimes, code, ALL, source, target, options, version=version)
        assert (ours(operation, ALL, "tflite") == found).all()


def test_requantize_equals_the_runtimes_on_all_values(random, runtimes):
    for _ in range(25):
        source = runtimes.form(random)
        target = runtimes.form(random, source.scale * random.uniform(0.3, 3))
        operation = listed("requantize", None, source, target)
        graph = runtimes.Onnx()
        assert (ours(operation, ALL, "onnx") == graph.run(graph.input(ALL.shape, source), target, [ALL])).all()
        found = in_tflite(runtimes, "QUANTIZE", ALL, source, target, ("QuantizeOptions", {}))
        assert (ours(operation, ALL, "tflite") == found).all()


@pytest.mark.parametrize("classes", [2, 10, 43, 1000])
def test_softmax_equals_the_runtimes(classes, random, runtimes):
    for _ in range(8):
        source = runtimes.form(random, np.exp(random.normal(-2.5, 1)))
        x = np.clip(random.normal(0, random.uniform(5, 60), (100, classes)), -128, 127).astype(np.int8)
        operation = listed("softmax", plain.Softmax(1), source, FIXED["softmax"])
        assert (ours(operation, x, "onnx") == in_onnx(runtimes, "Softmax", x, source, FIXED["softmax"], axis=1)).all()
        graph = runtimes.Tflite()
        y = graph.tensor(x.shape, form=FIXED["softmax"])
        graph.operator("SOFTMAX", [graph.input(x.shape, source)], y, ("SoftmaxOptions", {"beta": 1.0}))
        assert (ours(operation, x, "tflite") == graph.run(y, [x])).all()


POOLS = {
    "2x2": ((2, 2), (2, 2), (0, 0, 0, 0), False),
    "3x3 stride 2": ((3, 3), (2, 2), (0, 0, 0, 0), False),
    "5x2": ((5, 2), (1, 1), (0, 0, 0, 0), False),
    "padded": ((3, 3), (1, 1), (1, 1, 1, 1), False),
    "padded, counted": ((3, 3), (1, 1), (1, 1, 1, 1), True),
    "padded, stride 2": ((3, 3), (2, 2), (0, 0, 1, 1), False),
}


@pytest.mark.parametrize("case", POOLS)
def test_average_pool_equals_the_runtimes(case, random, runtimes):
    kernel, stride, pads, counted = POOLS[case]
    for _ in range(8):
        form = runtimes.form(random)
        base = random.integers(-128, 128, (1, 32, 1, 1))
        x = np.clip(base + random.normal(0, 30, (2, 32, 12, 12)), -128, 127).astype(np.int8)
        operator = plain.AveragePool(kernel, stride, pads, False, counted)
        operation = listed("average_pool", operator, form, form)
        attributes = {"kernel_shape": kernel, "strides": stride, "pads": pads, "count_include_pad": int(counted)}
        got = ours(operation, x, "onnx")
        assert (got == in_onnx(runtimes, "AveragePool", x, form, form, **attributes)).all()
        padded = x
        if counted:
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=form.zero_point)
        fields = {"strideH": stride[0], "strideW": stride[1], "filterHeight": kernel[0], "filterWidth": kernel[1],
                  "padding": 1 if counted or not any(pads) else 0}  # fmt: skip
        shape = (2, *got.shape[2:], 32)
        found = in_tflite(runtimes, "AVERAGE_POOL_2D", padded, form, form, ("Pool2DOptions", fields), shape)
        assert (ours(operation, x, "tflite") == found).all()


def test_average_pool_over_one_axis_is_the_one_over_two(random):
    form = TensorFormat(0.1, 3)
    x = random.integers(-128, 128, (2, 4, 11)).astype(np.int8)
    flat = listed("average_pool", plain.AveragePool((3,), (2,), (1, 1), True), form, form)
    deep = listed("average_pool", plain.AveragePool((1, 3), (1, 2), (0, 1, 0, 1), True), form, form)
    for target in ("onnx", "tflite"):
        assert (ours(flat, x, target) == ours(deep, x[:, :, None], target)[:, :, 0]).all()
        assert np.abs(ours(flat, x, target).astype(int) - exact(flat, x)).max() <= 1


def exact(operation, x):
    form = operation.output_format
    real = operation.operator(torch.from_numpy(x).double() - form.zero_point)
    return np.rint(real.numpy()).astype(int) + form.zero_point


@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "align_corners"])
def test_linear_resize_equals_the_runtimes(mode, random, runtimes):
    for (h, w), factor in [((7, 5), 2), ((6, 6), 4), ((5, 9), 3)] * 4:
        form = runtimes.form(random)
        x = random.integers(-128, 128, (1, 8, h, w)).astype(np.int8)
        size = (h * factor, w * factor)
        operator = plain.Resize(size, "linear", mode, "round_prefer_floor", (factor, factor))
        operation = listed("resize", operator, form, form)
        graph = runtimes.Onnx()
        scales = graph.constant("scales", np.float32([1, 1, factor, factor]))
        y = graph.node("Resize", [graph.input(x.shape, form), "", scales], "op", mode="linear",
                       coordinate_transformation_mode=mode)  # fmt: skip
        assert (ours(operation, x, "onnx") == graph.run(y, form, [x])).all()
        graph = runtimes.Tflite()
        inputs = [graph.input((1, h, w, 8), form), graph.constant(np.array(size, np.int32))]
        y = graph.tensor((1, *size, 8), form=form)
        fields = {"halfPixelCenters": mode == "half_pixel", "alignCorners": mode == "align_corners"}
        graph.operator("RESIZE_BILINEAR", inputs, y, ("ResizeBilinearOptions", fields), 3)
        assert (ours(operation, x, "tflite") == runtimes.first(graph.run(y, [runtimes.last(x)]))).all()


def test_listed_operators_do_differ_between_runtimes(random, runtimes):
    form = TensorFormat(0.1, 3)
    x = random.integers(-128, 128, (2, 8, 12, 12)).astype(np.int8)
    pool = listed("average_pool", plain.AveragePool((2, 2), (2, 2), (0, 0, 0, 0)), form, form)
    leaky = listed("leaky_relu", plain.LeakyRelu(0.1), form, TensorFormat(0.07, -9))
    for operation in (pool, leaky):
        assert (ours(operation, x, "onnx") != ours(operation, x, "tflite")).any()
        assert (ours(operation, x, None) == ours(operation, x, "onnx")).all()
