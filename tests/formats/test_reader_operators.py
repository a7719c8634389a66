"""Tiny ONNX files, one for each operator, spelling and odd attribute: the torch output against ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from studio import formats
from studio.network.network import Network
from tests.formats.tiny import SCALES, File, chain, ints, one, resized, weights


def compare(file: File, folder: Path, samples: int = 3, tolerance: float = 1e-5) -> Network:
    """Read the file and compare it, as a batch and singly, with ONNX Runtime on single samples."""
    torch.set_num_threads(1)
    path = file.write(folder)
    network = formats.read(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    x = np.random.default_rng(5).normal(size=(samples, *file.shape)).astype(np.float32) * 2
    together = network(torch.from_numpy(x))
    for i in range(samples):
        alone = network(torch.from_numpy(x[i : i + 1]))
        for wanted, one_, all_ in zip(session.run(None, {"x": x[i : i + 1]}), alone, together, strict=True):
            assert tuple(one_.shape) == wanted.shape
            for found in (one_.numpy(), all_[i : i + 1].numpy()):
                assert np.allclose(found, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))
    return network


NOTHING = np.zeros(0, np.float32)
W, B = weights(6, 4, 3, 3), weights(6)
CONVOLUTIONS = {
    "plain": one("Conv", W, B),
    "no bias": one("Conv", W),
    "asymmetric pads": one("Conv", W, B, pads=[0, 1, 2, 0]),
    "strides": one("Conv", W, B, strides=[2, 3], pads=[1, 1, 1, 1]),
    "SAME_UPPER": one("Conv", weights(6, 4, 2, 4), B, auto_pad="SAME_UPPER", strides=[2, 2]),
    "SAME_LOWER": one("Conv", weights(6, 4, 2, 4), B, auto_pad="SAME_LOWER", strides=[2, 2]),
    "VALID": one("Conv", W, B, auto_pad="VALID", strides=[2, 2]),
    "dilations": one("Conv", W, B, dilations=[2, 3]),
    "groups": one("Conv", weights(6, 2, 3, 3), B, group=2),
    "depthwise": one("Conv", weights(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "depthwise, two a channel": one("Conv", weights(8, 1, 3, 3), group=4),
    "one axis": one("Conv", weights(6, 4, 3), B, shape=(4, 17), pads=[2, 0], strides=[2]),
    "opset 7": one("Conv", W, B, opset=7, kernel_shape=[3, 3]),
    "opset 22": one("Conv", W, B, opset=22),
    "turned": one("ConvTranspose", weights(4, 6, 3, 3), B),
    "turned, strides": one("ConvTranspose", weights(4, 6, 3, 3), B, strides=[2, 2], pads=[1, 0, 0, 1]),
    "turned, output_padding": one(
        "ConvTranspose", weights(4, 6, 3, 3), strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1]),
    "turned, groups and dilations": one("ConvTranspose", weights(4, 3, 3, 3), B, group=2, dilations=[2, 1]),
    "turned, output_shape": one("ConvTranspose", weights(4, 6, 3, 3), B, strides=[2, 2], output_shape=[18, 20]),
    "turned, SAME_UPPER": one("ConvTranspose", weights(4, 6, 3, 3), B, strides=[2, 2], auto_pad="SAME_UPPER"),
    "turned, SAME_LOWER": one("ConvTranspose", weights(4, 6, 3, 3), B, strides=[2, 2], auto_pad="SAME_LOWER"),
    "turned, one axis": one("ConvTranspose", weights(4, 6, 3), B, shape=(4, 9), strides=[2]),
}  # fmt: skip
LINEAR = {
    "gemm": one("Gemm", weights(12, 5), weights(5), shape=(12,)),
    "gemm, transB": one("Gemm", weights(5, 12), weights(5), shape=(12,), transB=1),
    "gemm, alpha and beta": one("Gemm", weights(12, 5), weights(5), shape=(12,), alpha=0.5, beta=-2.0),
    "gemm, one bias for all": one("Gemm", weights(12, 5), weights(1), shape=(12,)),
    "gemm, row of biases": one("Gemm", weights(12, 5), weights(1, 5), shape=(12,), opset=7),
    "gemm, no bias": one("Gemm", weights(12, 5), shape=(12,)),
    "matmul": one("MatMul", weights(12, 5), shape=(12,)),
    "matmul of rows": one("MatMul", weights(12, 5), shape=(3, 12)),
    "matmul of stacked matrices": one("MatMul", weights(3, 12, 5), shape=(3, 4, 12)),
    "matmul of two": File(
        (3, 4), [("Transpose", ["x"], ["t"], {"perm": [0, 2, 1]}), ("MatMul", ["x", "t"], ["y"], {})]),
    "batch norm": one("BatchNormalization", weights(4), B[:4], weights(4), np.abs(weights(4)), epsilon=1e-3),
    "batch norm of a row": one(
        "BatchNormalization", weights(12), weights(12), weights(12), np.abs(weights(12)), shape=(12,)),
    "batch norm, opset 7": one(
        "BatchNormalization", weights(4), B[:4], weights(4), np.abs(weights(4)), opset=7, momentum=0.5),
}  # fmt: skip
VALUES = {
    "relu": one("Relu"),
    "leaky relu": one("LeakyRelu"),
    "leaky relu, alpha": one("LeakyRelu", alpha=0.3, opset=21),
    "prelu of channels": one("PRelu", weights(4, 1, 1)),
    "prelu of all": one("PRelu", weights(1), opset=7),
    "clip, opset 7": one("Clip", opset=7, min=0.0, max=6.0),
    "clip, opset 7, no bound": one("Clip", opset=7),
    "clip": one("Clip", np.float32(-0.5), np.float32(0.75)),
    "clip, upper bound": one("Clip", None, np.float32(0.75)),
    "clip, lower bound": one("Clip", np.float32(0.0)),
    "sigmoid": one("Sigmoid"),
    "hard sigmoid": one("HardSigmoid"),
    "hard sigmoid, alpha and beta": one("HardSigmoid", alpha=1 / 6, beta=0.4),
    "hard swish": one("HardSwish", opset=17),
    "tanh": one("Tanh"),
    "softmax": one("Softmax"),
    "softmax, axis": one("Softmax", axis=1),
    "softmax, opset 11": one("Softmax", shape=(12,), opset=11),
    "softmax, opset 11, over channels": one("Softmax", shape=(12, 1, 1), opset=11),
    "add": one("Add", weights(4, 1, 1)),
    "add, constant first": File((4, 3), [("Add", ["c", "x"], ["y"], {})], {"c": weights(3)}),
    "sub": one("Sub", weights(10)),
    "sub, constant first": File((4, 3), [("Sub", ["c", "x"], ["y"], {})], {"c": weights(3)}),
    "mul": one("Mul", np.float32(2.5)),
    "div": one("Div", np.abs(weights(4, 1, 1)) + 1),
    "div, constant first": File(
        (4, 3), [("Sigmoid", ["x"], ["s"], {}), ("Div", ["c", "s"], ["y"], {})], {"c": weights(3)}),
    "of two tensors": File(
        (4, 3),
        [("Sigmoid", ["x"], ["a"], {}), ("Mul", ["x", "a"], ["b"], {}), ("Sub", ["b", "x"], ["c"], {}),
         ("Div", ["c", "a"], ["y"], {})]),
    "sum of two": File((4, 3), [("Tanh", ["x"], ["a"], {}), ("Sum", ["x", "a"], ["y"], {})]),
    "dropout, identity, cast": chain(
        ("Dropout",), ("Identity",), ("Cast", [], {"to": TensorProto.DOUBLE}), ("Cast", [], {"to": TensorProto.FLOAT})),
    "dropout with a rate, opset 7": chain(("Dropout", [], {"ratio": 0.5}), ("Relu",), opset=7),
}  # fmt: skip
POOLS = {
    "max": one("MaxPool", kernel_shape=[2, 3], strides=[2, 2]),
    "max, pads": one("MaxPool", kernel_shape=[3, 3], pads=[0, 1, 2, 1], strides=[2, 2]),
    "max, ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max, ceil and pads": one("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
    "max, dilations": one("MaxPool", kernel_shape=[2, 2], dilations=[2, 3]),
    "max, SAME_LOWER": one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    "max, SAME_UPPER, opset 7": one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER", opset=7),
    "max, one axis": one("MaxPool", shape=(4, 17), kernel_shape=[3], strides=[2], pads=[1, 0]),
    "average": one("AveragePool", kernel_shape=[2, 3], strides=[2, 2]),
    "average, pads": one("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1]),
    "average, pads count": one("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1], count_include_pad=1),
    "average, ceil": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=21),
    "average, ceil, pads": one(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, opset=21),
    "average, ceil, pads count": one(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1,
        opset=21),
    "average, SAME_UPPER": one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    "average, one axis": one("AveragePool", shape=(4, 17), kernel_shape=[4], strides=[3], pads=[1, 2]),
    "global": one("GlobalAveragePool"),
    "global, one axis": one("GlobalAveragePool", shape=(4, 17)),
    "mean": one("ReduceMean", axes=[2, 3]),
    "mean, axes dropped": one("ReduceMean", axes=[-1, -2], keepdims=0),
    "mean of channels": one("ReduceMean", axes=[1]),
    "mean, opset 21": one("ReduceMean", ints(2, 3), opset=21, keepdims=0),
}  # fmt: skip
MOVES = {
    "concat": File((4, 3), [("Tanh", ["x"], ["a"], {}), ("Concat", ["x", "a", "x"], ["y"], {"axis": -1})]),
    "slice, opset 7": one("Slice", starts=[1, -4], ends=[3, 100], axes=[1, 3], opset=7),
    "slice, no axes": one("Slice", starts=[0, 1], ends=[9, 3], opset=9),
    "slice": one("Slice", ints(1, 0), ints(-1, -2), ints(2, 3)),
    "slice, steps": one("Slice", ints(0, 1), ints(9, 9), ints(2, 3), ints(2, 3)),
    "slice, backwards": one("Slice", ints(-1), ints(np.iinfo(np.int64).min), ints(3), ints(-1)),
    "slice, backwards to a place": one("Slice", ints(8), ints(2), ints(3), ints(-2)),
    "slice, backwards, negative end": one("Slice", ints(8), ints(-8), ints(-1), ints(-3)),
    "slice of everything": chain(("Slice", ["a", "b"]), ("Relu",), a=ints(0, 0), b=ints(2**31, 2**31)),
    "split": File((4, 3), [("Split", ["x"], ["a", "b"], {"axis": 1}), ("Sub", ["a", "b"], ["y"], {})]),
    "split, uneven, opset 11": File(
        (7, 3), [("Split", ["x"], ["y", "z"], {"axis": 1, "split": [2, 5]})], opset=11, outputs=("y", "z")),
    "split, uneven": File(
        (7, 3), [("Split", ["x", "s"], ["y", "z", "w"], {"axis": -2})], {"s": ints(1, 4, 2)},
        outputs=("w", "y", "z")),
    "split, last part smaller": File(
        (7, 3), [("Split", ["x"], ["y", "z", "w"], {"axis": 1, "num_outputs": 3})], opset=21,
        outputs=("y", "z", "w")),
    "pad, opset 7": one("Pad", opset=7, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=1.5),
    "pad": one("Pad", ints(0, 1, 0, 2, 0, 0, 1, 0)),
    "pad with a value": one("Pad", ints(0, 0, 1, 2, 0, 0, 1, 0), np.float32(-2.0)),
    "pad, reflect": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), mode="reflect"),
    "pad, edge": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    "pad, cut": one("Pad", ints(0, 0, -1, 0, 0, 0, -2, 1)),
    "pad, axes": one("Pad", ints(1, 2, 3, 4), None, ints(3, -2), opset=21),
    "pad of nothing": chain(("Pad", ["p"]), ("Relu",), p=ints(*[0] * 8)),
    "flatten": one("Flatten"),
    "flatten, axis": one("Flatten", axis=-3),
    "reshape": one("Reshape", ints(0, 2, -1)),
    "reshape, batch written": File((4, 9), [("Reshape", ["x", "s"], ["y"], {})], {"s": ints(1, -1)}, batch=1),
    "squeeze, opset 11": one("Squeeze", shape=(4, 1, 1), axes=[2, -1], opset=11),
    "squeeze": one("Squeeze", ints(-1), shape=(4, 3, 1)),
    "unsqueeze, opset 11": one("Unsqueeze", axes=[1, 4], opset=11, shape=(4, 3)),
    "unsqueeze": one("Unsqueeze", ints(-1, 2), shape=(4, 3)),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "gather": one("Gather", ints(3, 0, -1, 3), axis=1),
    "gather one": one("Gather", np.array(-2), axis=2),
    "gather a table": one("Gather", np.array([[0, 1], [2, 3]], np.int32), axis=-1),
    "expand": one("Expand", ints(1, 4, 5, 6), shape=(4, 1, 6)),
    "expand, same": chain(("Expand", ["s"]), ("Relu",), s=ints(1, 1, 1, 1)),
}  # fmt: skip
NOTHING = np.zeros(0, np.float32)


RESIZES = {
    "upsample, opset 7": one("Upsample", opset=7, shape=(2, 5, 6), scales=[1.0, 1.0, 2.0, 3.0]),
    "upsample, opset 9": one("Upsample", np.array([1, 1, 2, 2], np.float32), opset=9, shape=(2, 5, 6), mode="linear"),
    "sizes": resized(None, None, ints(1, 2, 7, 4)),
    "sizes, empty scales": resized(NOTHING, NOTHING, ints(1, 2, 10, 12), opset=11),
    "axes": resized(None, None, ints(7, 9), opset=21, axes=[2, 3]),
    "scales of axes": resized(None, np.float32([2.0]), opset=21, axes=[-1]),
    **{
        f"nearest, {mode}, {rounding}": resized(
            None, SCALES, mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    },
    **{
        f"linear, {mode}": resized(None, None, ints(1, 2, 11, 4), mode="linear", coordinate_transformation_mode=mode)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    },
    "linear, to one": resized(
        None, None, ints(1, 2, 1, 1), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
}  # fmt: skip
FOLDED = {
    "shape, gather, concat": File(
        (4, 3, 5),
        [("Shape", ["x"], ["s"], {}), ("Gather", ["s", "i"], ["n"], {"axis": 0}), ("Unsqueeze", ["n", "a"], ["m"], {}),
         ("Concat", ["m", "rest"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["y"], {})],
        {"i": np.array(0), "a": ints(0), "rest": ints(-1)}),
    "part of a shape": File(
        (4, 3, 5),
        [("Shape", ["x"], ["s"], {"start": 0, "end": 2}), ("Concat", ["s", "rest"], ["t"], {"axis": 0}),
         ("Reshape", ["x", "t"], ["y"], {})], {"rest": ints(-1)}, opset=17),
    "constant of shape, expand": File(
        (4, 3),
        [("ConstantOfShape", ["s"], ["f"], {"value": numpy_helper.from_array(np.float32([2.5]))}),
         ("Expand", ["f", "e"], ["g"], {}), ("Mul", ["x", "g"], ["y"], {})], {"s": ints(1, 1, 3), "e": ints(1, 4, 3)}),
    "arithmetic of sizes": File(
        (4, 6),
        [("Shape", ["x"], ["s"], {}), ("Slice", ["s", "one", "two", "zero"], ["c"], {}),
         ("Div", ["c", "two"], ["h"], {}),
         ("Mul", ["h", "two"], ["w"], {}), ("Cast", ["w"], ["v"], {"to": TensorProto.INT64}),
         ("Concat", ["zero", "v", "minus"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["y"], {})],
        {"one": ints(1), "two": ints(2), "zero": ints(0), "minus": ints(-1)}),
    "constant node": File(
        (4, 3),
        [("Constant", [], ["c"], {"value": numpy_helper.from_array(weights(3))}), ("Add", ["x", "c"], ["y"], {})]),
    "constant of floats and ints": File(
        (4, 3),
        [("Constant", [], ["c"], {"value_floats": [1.0, 2.0, 3.0]}), ("Constant", [], ["i"], {"value_ints": [0, 12]}),
         ("Add", ["x", "c"], ["t"], {}), ("Reshape", ["t", "i"], ["y"], {})]),
    "weights turned in the file": File(
        (12,),
        [("Transpose", ["w"], ["t"], {"perm": [1, 0]}), ("MatMul", ["x", "t"], ["y"], {})], {"w": weights(5, 12)}),
    "several outputs": File(
        (4, 3), [("Relu", ["x"], ["y"], {}), ("Tanh", ["y"], ["z"], {})], outputs=("z", "y")),
    "dead branch": File((4, 3), [("Relu", ["x"], ["y"], {}), ("Tanh", ["x"], ["z"], {})]),
}  # fmt: skip
GROUPS = {
    "convolution": CONVOLUTIONS, "linear": LINEAR, "values": VALUES, "pool": POOLS, "moves": MOVES, "resize": RESIZES,
    "folded": FOLDED,
}  # fmt: skip
CASES = {f"{group}: {name}": file for group, files in GROUPS.items() for name, file in files.items()}


@pytest.mark.parametrize("case", CASES)
def test_operator_equals_onnx_runtime(case: str, tmp_path: Path) -> None:
    compare(CASES[case], tmp_path)


def test_the_cases_cover_every_operator_of_the_reader() -> None:
    from studio.formats._onnx.build import CONVERTERS

    formats.registry.find("formats", "onnx")
    tested = {kind for file in CASES.values() for kind, *_ in file.nodes}
    assert sorted(set(CONVERTERS) - tested) == []


def test_what_no_output_needs_is_left_out(tmp_path: Path) -> None:
    assert [n.kind for n in compare(FOLDED["dead branch"], tmp_path).nodes] == ["input", "relu"]


def test_float16_and_double_weights_become_float32(tmp_path: Path) -> None:
    for kind in (np.float16, np.float64):
        stored = {"w": weights(5, 4).astype(kind)}
        nodes = [("Cast", ["w"], ["v"], {"to": TensorProto.FLOAT}), ("Gemm", ["x", "v"], ["y"], {"transB": 1})]
        network = compare(File((4,), nodes, stored), tmp_path)
        weight = network.by_name["w" if "w" in network.by_name else network.outputs[0]].operator.state_dict()["weight"]
        assert weight.dtype == torch.float32
        assert np.array_equal(weight.numpy(), stored["w"].astype(np.float32))


FROZEN: dict[str, tuple[File, bool]] = {
    "flatten by -1": (File((4, 3), [("Reshape", ["x", "s"], ["y"], {})], {"s": ints(1, -1)}, batch=1), True),
    "batch mixed in": (File((4, 3), [("Reshape", ["x", "s"], ["y"], {})], {"s": ints(2, 6)}, batch=1), False),
    "batch moved": (one("Transpose", perm=[1, 0, 2, 3]), False),
    "batch turned": (one("Reshape", ints(-1, 1, 9, 10)), False),
}  # fmt: skip


@pytest.mark.parametrize("case", FROZEN)
def test_a_batch_is_freed_only_where_samples_stay_apart(case: str, tmp_path: Path) -> None:
    file, free = FROZEN[case]
    network = formats.read(file.write(tmp_path))
    assert network.free_batch is free
    if case in ("flatten by -1",):
        compare(file, tmp_path)
