"""Mean over space: both forms against the real runtimes, where products lie on halves."""

import numpy as np
import pytest

from studio.lowering import mean
from studio.lowering.program import TensorFormat


@pytest.mark.parametrize(("h", "w"), [(8, 8), (7, 7), (6, 6), (24, 5), (2, 2), (12, 12)])
def test_forms_equal_the_runtimes(h, w, random, runtimes):
    for _ in range(6):
        source = runtimes.form(random)
        target = runtimes.form(random, source.scale * random.integers(1, 9) / random.integers(4, 9))
        base = random.integers(-128, 128, (1, 256, 1, 1))
        x = np.clip(base + random.integers(-20, 20, (1, 256, h, w)), -128, 127).astype(np.int8)
        sums = x.astype(np.int64).sum((2, 3)).reshape(-1)
        graph = runtimes.Onnx()
        got = graph.run(graph.node("GlobalAveragePool", [graph.input(x.shape, source)], "op"), target, [x])
        assert (mean.onnx(sums, source, target, h * w) == got.reshape(-1)).all()
        graph = runtimes.Tflite()
        axes = graph.constant(np.array([1, 2], np.int32))
        y = graph.tensor((1, 1, 1, 256), form=target)
        graph.operator("MEAN", [graph.input((1, h, w, 256), source), axes], y, ("ReducerOptions", {"keepDims": True}))
        assert (mean.xnnpack(sums, source, target, h * w) == graph.run(y, [runtimes.last(x)]).reshape(-1)).all()


def test_equal_scales_with_an_odd_zero_point_disagree_and_a_nudged_scale_agrees():
    # Sum 2 of four values is 0.5: rint(0.5) + 1 = 1, but rint(0.5 + 1) = 2.
    source, target = TensorFormat(0.5, 0), TensorFormat(0.5, 1)
    sums = np.array([2])
    assert mean.onnx(sums, source, target, 4).tolist() == [1]
    assert mean.xnnpack(sums, source, target, 4).tolist() == [2]
    assert not mean.agrees(source, target, 4)
    assert mean.agrees(source, TensorFormat(float(np.float32(0.5 * (1 + 2.0**-16))), 1), 4)
