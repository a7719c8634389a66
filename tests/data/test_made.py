"""Data made by the user's own code: only when trusted, and held against the same rules as a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import studio.data
from studio.core.errors import DataError, PlanError
from studio.data import Dataset

CODE = """
import numpy as np
import torch

def pair():
    open({canary!r}, "w").close()
    return torch.arange(24.0).reshape(4, 1, 2, 3), [0, 1, 1, 0]

def whole():
    x = np.arange(24, dtype="uint8").reshape(4, 2, 3, 1)
    return {{"x": x, "y": np.array([1, 0, 1, 0]), "layout": "NHWC", "scale": 0.5, "classes": ["a", "b"], "std": None}}

def broken():
    raise ValueError("no disk here")

def nothing():
    return None

def objects():
    return np.array([{{}}, {{}}]), [0, 1]

def short():
    return np.zeros((3, 1, 2, 3), "float32"), [0]

def doubles():
    return np.zeros((3, 1, 2, 3)), [0, 1, 0]
"""


@pytest.fixture
def code(own_module: Callable[[str], str]) -> str:
    return own_module(CODE)


def opened(name: str, **more: object) -> Dataset:
    return studio.data.open(name, input_shape=(1, 1, 2, 3), trust=True, **more)  # type: ignore[arg-type]


def test_a_pair_of_tensors_is_samples_and_labels(code: str) -> None:
    found = opened(f"{code}:pair")
    assert np.array_equal(found.batch([3])[0, 0], [[18, 19, 20], [21, 22, 23]])
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.source == found.name == f"{code}:pair"


def test_a_dict_says_what_an_npz_would(code: str) -> None:
    found = opened(f"{code}:whole")
    assert np.array_equal(found.batch([0])[0, 0], [[0, 0.5, 1], [1.5, 2, 2.5]])
    assert found.classes == ("a", "b")


def test_untrusted_code_is_not_run(code: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--trust"):
        studio.data.open(f"{code}:pair", input_shape=(1, 1, 2, 3))
    assert not (tmp_path / "canary").exists()


def test_a_file_of_that_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open("own:data", "wb") as file:
        np.savez(file, x=np.zeros((2, 1, 2, 3), np.float32))
    assert studio.data.open("own:data", input_shape=(1, 1, 2, 3)).source == os.path.abspath("own:data")


def test_the_identity_is_that_of_the_content(code: str) -> None:
    assert opened(f"{code}:pair").content_id == opened(f"{code}:pair").content_id
    assert opened(f"{code}:pair").content_id != opened(f"{code}:pair", samples=2).content_id


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("broken", "ValueError: no disk here"), ("nothing", "returned NoneType"), ("objects", "Python objects"),
        ("short", "1 labels for 3 samples"), ("doubles", "float64"), ("absent", "absent"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_named(function: str, words: str, code: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        opened(f"{code}:{function}")
    assert raised.value.where == f"{code}:{function}"
    assert raised.value.remedy
