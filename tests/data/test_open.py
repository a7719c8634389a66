"""Reading: every form of the interface, the shapes, the preprocessing, by hand-made files."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import studio.data
from studio.core.errors import StudioError
from studio.data.archive import Archive


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def pixels(h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def test_float_samples_come_back_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 6)).astype(np.float32)
    d = studio.data.open(npz(tmp_path / "a.npz", x=x, y=[0, 1, 2, 3]), input_shape=(1, 3, 5, 6))
    assert np.array_equal(d.batch([2, 0]), x[[2, 0]])
    assert d.labels is not None
    assert d.labels.tolist() == [0, 1, 2, 3]
    assert (d.count, d.name, d.source) == (4, "a.npz", str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("stored", "network", "order"),
    [
        ((5, 6, 3), (3, 5, 6), (0, 3, 1, 2)),  # NHWC samples, NCHW network
        ((3, 5, 6), (5, 6, 3), (0, 2, 3, 1)),  # NCHW samples, NHWC network
        ((5, 6), (1, 5, 6), (0, 1, 2)),
        ((5, 6), (5, 6, 1), (0, 1, 2)),
        ((30,), (30,), (0, 1)),
        ((1, 6, 6), (1, 6, 6), (0, 1, 2, 3)),
        ((6, 6, 1), (1, 6, 6), (0, 3, 1, 2)),
        ((1, 6, 6), (6, 6, 1), (0, 2, 3, 1)),
        ((5, 6, 1), (1, 5, 6), (0, 1, 2, 3)),
        ((49, 10), (1, 49, 10, 1)[1:], (0, 1, 2)),
    ],
)
def test_axes_are_found_from_the_shapes(
    tmp_path: Path, stored: tuple[int, ...], network: tuple[int, ...], order: tuple[int, ...]
) -> None:
    x = np.arange(2 * np.prod(stored), dtype=np.float32).reshape(2, *stored)
    d = studio.data.open(npz(tmp_path / "a.npz", x=x), input_shape=(1, *network))
    assert np.array_equal(d.batch([0, 1]), x.transpose(order).reshape(2, *network))


def test_a_shape_that_fits_in_two_ways_needs_a_layout(tmp_path: Path) -> None:
    x = np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3)
    with pytest.raises(StudioError, match="fit the network in two ways"):
        studio.data.open(npz(tmp_path / "a.npz", x=x), input_shape=(1, 3, 3, 3))
    d = studio.data.open(
        npz(tmp_path / "b.npz", x=x, layout="NHWC"), input_shape=(1, 3, 3, 3), preprocess={"layout": "NCHW"}
    )
    assert np.array_equal(d.batch([0]), x[:1].transpose(0, 3, 1, 2))


def test_bytes_without_preprocessing_mean_0_to_255(tmp_path: Path) -> None:
    x = np.array([[[0, 255]], [[7, 128]]], dtype=np.uint8)
    d = studio.data.open(npz(tmp_path / "a.npz", x=x), input_shape=(1, 1, 1, 2))
    assert d.batch([0, 1]).ravel().tolist() == [0, 255, 7, 128]
    assert d.batch([0]).dtype == np.float32


def test_normalisation_by_hand(tmp_path: Path) -> None:
    x = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    x[0, 0, 1] = (10, 20, 30)
    d = studio.data.open(
        npz(tmp_path / "a.npz", x=x), input_shape=(1, 3, 2, 2),
        preprocess={"scale": 0.5, "mean": [1, 2, 3], "std": [1, 2, 4]},
    )  # fmt: skip
    # (10/2-1)/1, (20/2-2)/2, (30/2-3)/4
    assert d.batch([0])[0, :, 0, 1].tolist() == [4.0, 4.0, 3.0]


def test_explicit_keys_win_over_the_file_and_the_file_over_the_plan(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=np.ones((1, 4), dtype=np.float32), scale=3.0, mean=2.0)
    d = studio.data.open(
        path, input_shape=(1, 4), preprocess={"mean": 1.0}, plan_preprocess={"scale": 9.0, "mean": 9.0, "std": 4.0}
    )
    assert (d.preprocess.scale, d.preprocess.mean, d.preprocess.std) == (3.0, (1.0,), (4.0,))
    assert d.batch([0]).tolist() == [[0.5] * 4]


def test_classes_of_an_npz(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=np.ones((1, 4), dtype=np.float32), classes=["cat", "dog"])
    assert studio.data.open(path, input_shape=(1, 4)).classes == ("cat", "dog")


def test_pictures_in_one_byte_array(tmp_path: Path) -> None:
    rows = [pixels(4, 4, i) for i in range(3)]
    parts = [png(row) for row in rows]
    path = npz(
        tmp_path / "a.npz", blob=np.frombuffer(b"".join(parts), np.uint8), y=[2, 0, 1],
        offsets=np.cumsum([0, *map(len, parts)]),
    )  # fmt: skip
    d = studio.data.open(path, input_shape=(1, 3, 4, 4))
    assert np.array_equal(d.batch([2, 0]), np.stack([rows[2], rows[0]]).transpose(0, 3, 1, 2))
    assert np.array_equal(d.batch([2, 0]), d.batch([2, 0]))  # the second time from memory


def test_resize_is_pillows_bilinear_over_the_whole_picture(tmp_path: Path) -> None:
    row = pixels(31, 17)
    (tmp_path / "p.png").write_bytes(png(row))
    (tmp_path / "annotations.json").write_text('[{"file": "p.png", "label": 1}]')
    d = studio.data.open(tmp_path, input_shape=(1, 3, 8, 9))
    expected = np.asarray(Image.fromarray(row).resize((9, 8), Image.Resampling.BILINEAR))
    assert np.array_equal(d.batch([0])[0], expected.transpose(2, 0, 1))
    assert d.preprocess.to_json()["resize"] == [8, 9]
    assert d.preprocess.layout == "NCHW"


def test_centre_crop_comes_before_the_resize(tmp_path: Path) -> None:
    row = pixels(10, 20)
    folder = tmp_path / "set" / "one"
    folder.mkdir(parents=True)
    (folder / "p.png").write_bytes(png(row))
    d = studio.data.open(tmp_path / "set", input_shape=(1, 3, 10, 10), preprocess={"crop": "centre"})
    assert np.array_equal(d.batch([0])[0], row[:, 5:15].transpose(2, 0, 1))


def test_channels(tmp_path: Path) -> None:
    row = pixels(6, 6)
    (tmp_path / "p.png").write_bytes(png(row))
    bgr = studio.data.open(tmp_path, input_shape=(1, 3, 6, 6), preprocess={"channels": "BGR"})
    assert np.array_equal(bgr.batch([0])[0], row[:, :, ::-1].transpose(2, 0, 1))
    grey = studio.data.open(tmp_path, input_shape=(1, 1, 6, 6))
    assert np.array_equal(grey.batch([0])[0, 0], np.asarray(Image.fromarray(row).convert("L")))
    last = studio.data.open(tmp_path, input_shape=(1, 6, 6, 3))
    assert np.array_equal(last.batch([0])[0], row)
    assert last.preprocess.layout == "NHWC"


def test_bgr_and_resize_of_stored_pictures(tmp_path: Path) -> None:
    x = np.stack([pixels(12, 10, i) for i in range(2)])
    path = npz(tmp_path / "a.npz", x=x)
    d = studio.data.open(path, input_shape=(1, 3, 12, 10), preprocess={"channels": "BGR"})
    assert np.array_equal(d.batch([1])[0], x[1, :, :, ::-1].transpose(2, 0, 1))
    small = studio.data.open(path, input_shape=(1, 3, 5, 6), preprocess={"resize": [5, 6]})
    expected = np.asarray(Image.fromarray(x[1]).resize((6, 5), Image.Resampling.BILINEAR))
    assert np.array_equal(small.batch([1])[0], expected.transpose(2, 0, 1))


def test_pictures_in_memory_go_the_same_way(tmp_path: Path) -> None:
    rows = [pixels(12, 10, i) for i in range(2)]
    for i, row in enumerate(rows):
        (tmp_path / f"{i}.png").write_bytes(png(row))
    d = studio.data.open(tmp_path, input_shape=(1, 3, 5, 6), preprocess={"scale": 0.1, "std": [1, 2, 3]})
    assert np.array_equal(studio.data.prepare(rows, d.preprocess, (1, 3, 5, 6)), d.batch([0, 1]))


def test_decoded_pictures_keep_to_a_byte_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.data.dataset.CACHE", 3 * 4 * 4 * 3)
    rows = [pixels(4, 4, i) for i in range(9)]
    for i, row in enumerate(rows):
        (tmp_path / f"{i}.png").write_bytes(png(row))
    d = studio.data.open(tmp_path, input_shape=(1, 3, 4, 4))
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda seed: (seed, d.batch(d.order(seed))), range(12)))
    for seed, batch in batches:
        assert np.array_equal(batch, np.stack(rows)[d.order(seed)].transpose(0, 3, 1, 2))
    assert len(d._cache._rows) == 3
    assert d._cache._bytes == 3 * 48


def test_class_folders_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    for name in ("nut", "bolt", "empty"):
        (tmp_path / name).mkdir()
    for i, name in enumerate(["nut/b.png", "nut/a.png", "bolt/c.png"]):
        (tmp_path / name).write_bytes(png(pixels(3, 3, i)))
    (tmp_path / "nut" / "readme.txt").write_text("no picture")
    d = studio.data.open(tmp_path, input_shape=(1, 3, 3, 3), preprocess={"layout": "NCHW"})
    assert d.classes == ("bolt", "nut")
    assert d.labels is not None
    assert d.labels.tolist() == [0, 1, 1]
    assert np.array_equal(d.batch([1])[0], pixels(3, 3, 1).transpose(2, 0, 1))


def test_numbered_class_folders_keep_their_numbers(tmp_path: Path) -> None:
    for name in ("00002", "00010"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_bytes(png(pixels(4, 4)))
    d = studio.data.open(tmp_path, input_shape=(1, 3, 4, 4))
    assert d.labels is not None
    assert d.labels.tolist() == [2, 10]


def test_plain_pictures_have_no_labels(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png(pixels(4, 4)))
    assert studio.data.open(tmp_path, input_shape=(1, 3, 4, 4)).labels is None


@pytest.mark.parametrize(
    ("entries", "label", "expected", "classes"),
    [
        ([{"label": 3}, {"label": 5}], None, [3, 5], None),
        ([{"good": True}, {"good": False}], None, [1, 0], ("no good", "good")),
        ([{"kind": "nut", "mode": "RGB"}, {"kind": "bolt", "mode": "L"}], None, [1, 0], ("bolt", "nut")),
        ([{"a": 1, "b": 4}, {"a": 2, "b": 5}], "b", [4, 5], None),
        ([{"boxes": []}, {"width": 4}], None, None, None),
    ],
)
def test_labels_of_annotations(
    tmp_path: Path, entries: list[dict[str, object]], label: str | None, expected: object, classes: object
) -> None:
    (tmp_path / "images").mkdir()
    for i, entry in enumerate(entries):
        entry["file"] = f"{i}.png"
        (tmp_path / "images" / f"{i}.png").write_bytes(png(pixels(4, 4)))
    (tmp_path / "annotations.json").write_text(json.dumps(entries))
    d = studio.data.open(tmp_path, input_shape=(1, 3, 4, 4), label=label)
    assert (None if d.labels is None else d.labels.tolist()) == expected
    assert d.classes == classes


def test_coco_with_one_class_a_picture(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(png(pixels(9, 9)))
    coco = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 90, "bbox": [0, 0, 2, 2]},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    d = studio.data.open(tmp_path, input_shape=(1, 3, 9, 9))
    assert d.classes == ("cat", "dog")
    assert d.labels is not None
    assert d.labels.tolist() == [1, 0]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_pair(tmp_path: Path, suffix: str) -> None:
    x = pixels(4, 5).transpose(2, 0, 1)
    images = struct.pack(">HBB3I", 0, 8, 3, 3, 4, 5) + x.tobytes()
    labels = struct.pack(">HBBI", 0, 8, 1, 3) + bytes([2, 0, 1])
    for name, content in (("t-images-idx3-ubyte", images), ("t-labels-idx1-ubyte", labels)):
        (tmp_path / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    d = studio.data.open(tmp_path / f"t-images-idx3-ubyte{suffix}", input_shape=(1, 1, 4, 5))
    assert d.labels is not None
    assert d.labels.tolist() == [2, 0, 1]
    assert np.array_equal(d.batch([1])[0, 0], x[1])


def test_a_large_uncompressed_array_is_mapped_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.data.archive.MAPPED", 1000)
    x = np.random.default_rng(0).integers(0, 256, (40, 7, 5), dtype=np.uint8)
    path = npz(tmp_path / "a.npz", y=np.arange(40), x=x)
    found = Archive(path).array("x")
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, x)
    assert np.array_equal(studio.data.open(path, input_shape=(1, 1, 7, 5)).batch([39])[0, 0], x[39])


def test_a_compressed_array_is_read_whole(tmp_path: Path) -> None:
    x = np.zeros((40, 7, 5), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=x)
    assert zipfile.ZipFile(tmp_path / "a.npz").infolist()[0].compress_type == zipfile.ZIP_DEFLATED
    assert np.array_equal(Archive(tmp_path / "a.npz").array("x"), x)


def test_a_draw_of_samples_is_seeded_and_balanced(tmp_path: Path) -> None:
    y = np.repeat(np.arange(5), 40)
    path = npz(tmp_path / "a.npz", x=np.arange(200, dtype=np.float32)[:, None], y=y)
    first = studio.data.open(path, input_shape=(1, 1), samples=20, seed=3)
    again = studio.data.open(path, input_shape=(1, 1), samples=20, seed=3)
    other = studio.data.open(path, input_shape=(1, 1), samples=20, seed=4)
    assert first.labels is not None
    assert first.count == 20
    assert np.bincount(first.labels).tolist() == [4] * 5
    values = first.batch(range(20)).ravel()
    assert np.array_equal(values, again.batch(range(20)).ravel())
    assert not np.array_equal(values, other.batch(range(20)).ravel())
    assert np.array_equal(y[values.astype(int)], first.labels)


def test_content_id_follows_what_decides_the_samples(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=np.ones((9, 2), dtype=np.float32), y=np.zeros(9, dtype=int))
    ids = {
        studio.data.open(path, input_shape=(1, 2), **options).content_id  # type: ignore[arg-type]
        for options in ({}, {"samples": 4}, {"preprocess": {"scale": 2}}, {"samples": 4, "seed": 1})
    }
    assert len(ids) == 4
    again = studio.data.open(path, input_shape=(1, 2)).content_id
    assert again == studio.data.open(path, input_shape=(1, 2)).content_id


def test_a_sample_as_a_person_sees_it(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    np.savez(tmp_path / "rgb.npz", x=pixels, y=np.array([0, 1]))
    shown = studio.data.open(tmp_path / "rgb.npz", input_shape=(1, 3, 4, 4)).shown(1)
    assert shown is not None
    assert shown.shape == (4, 4, 3)
    assert shown[0, 0].tolist() == [round((v - 48) * 255 / 47) for v in (48, 64, 80)]
    np.savez(tmp_path / "features.npz", x=np.array([[[0.0, 1.0], [2.0, 4.0]]], np.float32), y=np.array([0]))
    shown = studio.data.open(tmp_path / "features.npz", input_shape=(1, 1, 2, 2)).shown(0)
    assert shown is not None
    assert shown.tolist() == [[0, 64], [128, 255]]
    np.savez(tmp_path / "row.npz", x=np.zeros((1, 7), np.float32), y=np.array([0]))
    assert studio.data.open(tmp_path / "row.npz", input_shape=(1, 7)).shown(0) is None
