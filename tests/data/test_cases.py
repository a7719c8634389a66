"""Real data through ONNX Runtime: the float accuracy of CASES.json comes out, so preprocessing is right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import studio.data
from studio.data import Dataset

CASES = {"mnist_cnn": 1000, "cifar10_resnet20": 1000, "kws_dscnn": 500, "vww96": 128, "traffic_signs43": 100}


def accuracy(case: dict[str, object], shared: Path, dataset: Dataset, session: onnxruntime.InferenceSession) -> float:
    batch = int(case.get("batch", 50))  # type: ignore[call-overload]
    name = session.get_inputs()[0].name
    outputs = [
        session.run(None, {name: dataset.batch(range(i, min(i + batch, dataset.count)))})[0]
        for i in range(0, dataset.count, batch)
    ]
    found = np.concatenate(outputs).reshape(dataset.count, -1).argmax(1)
    assert dataset.labels is not None
    return float((found == dataset.labels).mean())


@pytest.mark.shared
@pytest.mark.parametrize("name", CASES)
def test_float_accuracy(shared: Path, name: str) -> None:
    case = next(c for c in json.loads((shared / "data/CASES.json").read_text())["cases"] if c["name"] == name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(shared / "data" / case["model"]), options)
    shape = [n if isinstance(n, int) else 1 for n in session.get_inputs()[0].shape]
    dataset = studio.data.open(
        shared / "data" / case["data"], input_shape=shape, preprocess=case["preprocess"], samples=CASES[name]
    )
    found = accuracy(case, shared, dataset, session)
    whole = CASES[name] in (500, 128, 100)
    # A thousand of five thousand samples: three standard errors; whole sets: to the last sample.
    assert found == pytest.approx(case["float_value"], abs=0.0005 if whole else 3 * (0.81 * 0.19 / 1000) ** 0.5)
