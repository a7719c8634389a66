"""Bad data: each a sentence that names file, place and remedy."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import studio.data
from studio.core.errors import StudioError

INPUT = (1, 3, 4, 4)


def picture(mode: str = "RGB", size: tuple[int, int] = (4, 4)) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def refused(source: Path, *words: str, **options: object) -> None:
    """Opening fails with one sentence that holds all words, the file's name and a remedy."""
    with pytest.raises(StudioError) as caught:
        studio.data.open(source, **{"input_shape": INPUT, **options})  # type: ignore[arg-type]
    text = str(caught.value)
    for word in (*words, source.name):
        assert word in text
    assert caught.value.remedy
    assert "\n" not in text


def samples(n: int = 6) -> np.ndarray:
    return np.ones((n, *INPUT[1:]), dtype=np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": samples().astype(np.float64)}, ["float64", "float32"]),
        ({"x": samples().astype(np.int32)}, ["int32"]),
        ({"x": np.ones((6, 3, 5, 4), np.float32)}, ["(3, 5, 4)", "(3, 4, 4)"]),
        ({"x": np.float32(3)}, ["()"]),
        ({"x": samples(0)}, ["(0, 3, 4, 4)"]),
        ({"x": samples(), "y": np.arange(5)}, ["5 labels", "6 samples"]),
        ({"x": samples(), "y": np.ones(6)}, ["float64", "whole"]),
        ({"x": samples(), "y": np.eye(6, dtype=int)}, ["(6, 6)", "argmax"]),
        ({"x": samples(), "layout": "CHWN"}, ["CHWN", "NHWC"]),
        ({"x": samples(), "layout": np.zeros((50, 50))}, ["'layout'", "(50, 50)", "NHWC"]),
        ({"x": samples(), "mean": ["a"]}, ["'mean'"]),
        ({"x": samples(), "scale": np.zeros((6, 3072))}, ["'scale'", "(6, 3072)"]),
        ({"x": samples(), "std": 0.0}, ["'std'", "zero"]),
        ({"x": samples(), "mean": [1.0, 2.0]}, ["2 values"]),
        ({"pcm": samples()}, ["pcm", "'x'"]),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, object], words: list[str]) -> None:
    refused(npz(tmp_path / "a.npz", **arrays), *words)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    x = samples()
    x[4, 1, 2, 3] = value
    refused(npz(tmp_path / "a.npz", x=x), "sample 4", "NaN")


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o700)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = npz(tmp_path / "a.npz", x=np.array([Canary(canary), None], dtype=object))
    refused(path, "pickled", "never")
    path = npz(tmp_path / "b.npz", x=samples(), y=np.array([Canary(canary)] * 6, dtype=object))
    refused(path, "'y'", "pickled", "never")
    assert not canary.exists()


def test_a_file_that_promises_too_much(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 64)
    refused(tmp_path / "a.npz", "'x'", "damaged", "64 bytes")


def test_a_zip_bomb_is_refused_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.data.archive.LIMIT", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1 << 19, 4), np.float32))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 16
    refused(tmp_path / "a.npz", "'x'", "GiB")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", ["Git-LFS", "git lfs pull"]),
        (b"some text", ["no whole .npz"]),
    ],
)
def test_files_that_are_no_npz(tmp_path: Path, content: bytes, words: list[str]) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    refused(tmp_path / "a.npz", *words)


def test_truncated_and_damaged_npz(tmp_path: Path) -> None:
    content = npz(tmp_path / "a.npz", x=samples()).read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "a.npz", "no whole .npz")
    broken = bytearray(content)
    broken[400] ^= 255
    (tmp_path / "b.npz").write_bytes(broken)
    refused(tmp_path / "b.npz", "'x'", "damaged")


def test_missing_file_and_unknown_kind(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "cannot be opened")
    (tmp_path / "a.csv").write_text("1,2,3")
    refused(tmp_path / "a.csv", "kind of data")


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ([0, 60, 50, 90], ["picture 1", "60", "50"]),
        ([0, 60, 1000], ["1000", "blob"]),
        ([-1, 60], ["-1"]),
        ([0.0, 60.0], ["float64"]),
        ([0], ["(1,)"]),
    ],
)
def test_offsets_that_do_not_fit(tmp_path: Path, offsets: list[float], words: list[str]) -> None:
    path = npz(tmp_path / "a.npz", blob=np.zeros(100, np.uint8), offsets=np.array(offsets))
    refused(path, "offset", *words)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    good = picture()
    blob = np.frombuffer(good + b"\xff\xd8 not a picture", np.uint8)
    path = npz(tmp_path / "a.npz", blob=blob, offsets=[0, len(good), len(blob)])
    d = studio.data.open(path, input_shape=INPUT)
    with pytest.raises(StudioError, match=re.escape(f"{path}: picture 1: the picture cannot be decoded")):
        d.batch([0, 1])
    (tmp_path / "cut.png").write_bytes(picture("RGB", (64, 64))[:60])
    (tmp_path / "annotations.json").write_text('[{"file": "cut.png"}]')
    with pytest.raises(StudioError, match=r"cut\.png: the picture cannot be decoded"):
        studio.data.open(tmp_path, input_shape=INPUT)


def test_a_picture_that_git_lfs_left_out(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n")
    with pytest.raises(StudioError, match=r"p\.png: is a Git-LFS pointer"):
        studio.data.open(tmp_path, input_shape=INPUT)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", "is not a file")


@pytest.mark.parametrize("kind", ["npz", "png", "json"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.booleans())
def test_any_damage_is_a_sentence(tmp_path: Path, kind: str, place: int, value: int, cut: bool) -> None:
    """A changed byte or a cut file either still opens or is refused; nothing else is raised."""
    folder = tmp_path / "set"
    folder.mkdir(exist_ok=True)
    entry = {"file": "p.png", "label": 1, "boxes": [{"xyxy": [0, 0, 2, 2], "label": "a"}]}
    contents = {"json": json.dumps([entry]).encode(), "png": picture("RGB", (9, 7))}
    if kind == "npz":
        stream = io.BytesIO()
        np.savez_compressed(stream, x=samples(), y=np.arange(6))
        contents["npz"] = stream.getvalue()
    content = bytearray(contents[kind])
    content[place % len(content)] = value
    contents[kind] = bytes(content[: place % len(content)] if cut else content)
    for name, key in (("annotations.json", "json"), ("p.png", "png"), ("a.npz", "npz")):
        (tmp_path / "set" / name).write_bytes(contents.get(key, b""))
    with contextlib.suppress(StudioError):
        studio.data.open(folder / "a.npz" if kind == "npz" else folder, input_shape=INPUT).batch([0])


def test_pictures_of_16_bits_and_of_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("deep", picture("I;16")), ("huge", picture("L", (300, 300)))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_bytes(content)
    monkeypatch.setattr("studio.data.pictures.PIXELS", 1000)
    refused(tmp_path / "deep", "8 bits")
    refused(tmp_path / "huge", "300 x 300")


def test_folders_without_pictures(tmp_path: Path) -> None:
    refused(tmp_path, "no pictures")
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "readme.txt").write_text("x")
    refused(tmp_path, "no pictures")


def test_pictures_beside_class_folders(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(picture())
    (tmp_path / "b.png").write_bytes(picture())
    refused(tmp_path, "b.png", "beside")


def test_a_set_inside_the_folder_is_no_class(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.png").write_bytes(picture())
    (tmp_path / "inner" / "annotations.json").write_text('[{"file": "a.png"}]')
    refused(tmp_path, "'inner'", "itself")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", ["no pictures"]),
        ("{}", ["COCO"]),
        ("[1]", ["entry 0", "'file'"]),
        ("[{]", ["JSON"]),
        ("[" * 100_000, ["nested"]),
        ('[{"file": "p.png", "a": 1, "b": 2}]', ["--label: a, b"]),
        ('[{"file": "p.png", "a": 1}, {"file": "p.png"}]', ["p.png", "no 'a'"]),
        ('[{"file": "p.png", "a": 1}, {"file": "p.png", "a": "x"}]', ["int, str"]),
        ('[{"file": "q.png"}]', ["entry 0", "q.png", "missing"]),
        ('[{"file": "../p.png"}]', ["../p.png", "leaves"]),
        ('[{"file": "images/../../p.png"}]', ["leaves"]),
        ('[{"file": "/etc/passwd"}]', ["/etc/passwd", "leaves"]),
        ('[{"file": "C:\\\\p.png"}]', ["leaves"]),
        ('[{"file": "..\\\\p.png"}]', ["leaves"]),
        ('[{"file": "out.png"}]', ["out.png", "link"]),
        ('[{"file": "p.png", "boxes": [{"xyxy": [1, 2, 3]}]}]', ["entry 0", "four"]),
        ('[{"file": "p.png", "boxes": [{"xyxy": [1, 2, 3, NaN]}]}]', ["four"]),
        ('[{"file": "p.png", "boxes": 3}]', ["'boxes'"]),
        ('{"images": [{"id": 1}]}', ["COCO", "file_name"]),
        ('{"images": [], "annotations": []}', ["no pictures"]),
    ],
)
def test_annotations_that_do_not_fit(tmp_path: Path, content: str, words: list[str]) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "p.png").write_bytes(picture())
    (folder / "p.png").write_bytes(picture())
    (folder / "out.png").symlink_to(tmp_path / "p.png")
    (folder / "annotations.json").write_text(content)
    refused(folder, "annotations.json", *words)


def test_an_unknown_label_field_lists_the_possible_ones(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(picture())
    (tmp_path / "annotations.json").write_text(json.dumps([{"file": "p.png", "good": True, "kind": 3}]))
    refused(tmp_path, "'bad'", "good, kind", label="bad")


def test_fewer_samples_than_asked(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=samples())
    refused(path, "7 samples", "only 6", samples=7)
    refused(path, "at least 1", samples=0)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range(tmp_path: Path, label: int) -> None:
    d = studio.data.open(npz(tmp_path / "a.npz", x=samples(), y=[0, 1, 2, 2, label, 0]), input_shape=INPUT)
    with pytest.raises(StudioError, match=f"sample 4 is {label}, but the network has 3 classes"):
        studio.data.check_labels(d, 3)
    if label == 3:
        studio.data.check_labels(d, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"sclae": 2}', ["'sclae'", "scale"]),
        ('{"scale": "x"}', ["'scale'"]),
        ('{"scale": NaN}', ["'scale'"]),
        ('{"scale": true}', ["'scale'"]),
        ('{"std": [1, 0]}', ["'std'"]),
        ('{"mean": []}', ["'mean'"]),
        ('{"mean": [1e300]}', ["'mean'", "1e+300"]),
        ('{"resize": [4]}', ["'resize'"]),
        ('{"resize": [4, -4]}', ["'resize'"]),
        ('{"layout": "CHW"}', ["'layout'", "NHWC"]),
        ('{"interpolation": "cubic"}', ["'interpolation'", "bilinear"]),
        ('{"channels": "HSV"}', ["'channels'", "BGR"]),
        ("[1]", ["object"]),
        ("{", ["JSON"]),
    ],
)
def test_a_preprocessing_file_names_itself_and_the_key(tmp_path: Path, text: str, words: list[str]) -> None:
    path = npz(tmp_path / "a.npz", x=samples())
    file = tmp_path / "preprocess.json"
    file.write_text(text)
    with pytest.raises(StudioError) as caught:
        studio.data.open(path, input_shape=INPUT, preprocess=file)
    for word in (*words, "preprocess.json"):
        assert word in str(caught.value)


def test_preprocessing_that_does_not_fit_the_network(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(picture())
    refused(tmp_path, "[8, 8]", "[4, 4]", preprocess={"resize": [8, 8]})
    refused(tmp_path, "L", "3", preprocess={"channels": "L"})
    refused(tmp_path, "4 values", preprocess={"mean": [1, 2, 3, 4]})
    refused(tmp_path, "2 values", "3", preprocess={"mean": [1, 2], "std": [1, 2, 3]})
    refused(tmp_path, "no pictures of 1 or 3", input_shape=(1, 7, 4, 5))
    refused(tmp_path, "either layout", input_shape=(1, 3, 4, 3))


def test_idx_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x02abc")
    refused(tmp_path / "t-images-idx3-ubyte", "3 of 8 bytes")
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x02ab")
    refused(tmp_path / "t-labels-idx1-ubyte", "labels", "t-images-idx3-ubyte")
