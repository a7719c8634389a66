"""Add, sub and mul of two tensors: every form against the real runtime on all 65,536 pairs."""

import numpy as np
import pytest

from studio.lowering import pairs
from studio.lowering.program import TensorFormat

A, B = (v.astype(np.int32) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), indexing="ij"))


def random_formats(kind, random, runtimes):
    a, b = runtimes.form(random), runtimes.form(random)
    if kind == "mul":
        # Ratios of small integers make exact halves common.
        scale = a.scale * b.scale * random.integers(40, 300) / random.integers(1, 9)
    else:
        scale = max(a.scale, b.scale) * random.uniform(0.7, 1.8)
    return a, b, runtimes.form(random, scale)


def in_onnx(runtimes, kind, formats):
    graph = runtimes.Onnx()
    x = [graph.input((1, 1, 256, 256), f) for f in formats[:2]]
    arrays = [v.astype(np.int8).reshape(1, 1, 256, 256) for v in (A, B)]
    return graph.run(graph.node(kind.title(), x, "op"), formats[2], arrays).reshape(256, 256)


def in_tflite(runtimes, kind, formats):
    graph = runtimes.Tflite()
    x = [graph.input((1, 256, 256, 1), f) for f in formats[:2]]
    y = graph.tensor((1, 256, 256, 1), form=formats[2])
    graph.operator(kind.upper(), x, y, (f"{kind.title()}Options", {}))
    return graph.run(y, [v.astype(np.int8).reshape(1, 256, 256, 1) for v in (A, B)]).reshape(256, 256)


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_forms_equal_the_runtimes_on_all_pairs(kind, random, runtimes):
    for _ in range(12):
        formats = random_formats(kind, random, runtimes)
        forms = pairs.TARGETS[kind]
        assert (forms["onnx"](A, B, formats) == in_onnx(runtimes, kind, formats)).all(), formats
        assert (forms["tflite"](A, B, formats) == in_tflite(runtimes, kind, formats)).all(), formats


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_a_reconciled_scale_makes_all_runtimes_equal(kind, random, runtimes):
    for _ in range(8):
        a, b, target = random_formats(kind, random, runtimes)
        found = next(t for t in range(pairs.STEPS) if pairs.agrees(kind, (a, b, pairs.scaled(target, t))))
        formats = (a, b, pairs.scaled(target, found))
        preview = pairs.PREVIEW[kind](A, B, formats)
        assert (preview == in_onnx(runtimes, kind, formats)).all()
        assert (preview == in_tflite(runtimes, kind, formats)).all()


def test_forms_do_disagree_without_reconciling(random, runtimes):
    sets = [random_formats("add", random, runtimes) for _ in range(40)]
    assert 5 < sum(pairs.agrees("add", formats) for formats in sets) < 35


def test_fixed_point_by_hand():
    # r = 1/2 and 1/4: k = 20 - floor(log2(1/2)) = 21, multipliers 2^20 and 2^19.
    formats = (TensorFormat(0.5, 10), TensorFormat(0.25, 0), TensorFormat(1.0, -3))
    assert pairs.multipliers(formats) == (2**20, 2**19, 21)
    # (13 - 10) * 0.5 + 6 * 0.25 = 3.0; 1.5 and -1.5 alone round half up.
    a, b = np.array([13, 13, 7]), np.array([6, 0, 0])
    assert pairs.add_xnnpack(a, b, formats).tolist() == [0, -1, -4]


def test_scales_that_xnnpack_refuses_do_not_agree():
    near, far = TensorFormat(1.0, 0), TensorFormat(2.0**-11, 0)
    assert not pairs.agrees("add", (near, far, near))
