"""The integer resize against Pillow, against sums worked out by hand, and at its borders."""

import numpy as np
import pytest
from PIL import Image

from studio.attention import crop_resize
from studio.attention._resize import clip_box, resize_operations, weights


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("length", "target"), [(256, 32), (240, 32), (32, 32), (20, 32), (1, 5), (5, 1), (33, 32)])
def test_weights_of_each_output_sum_to_2048(length: int, target: int) -> None:
    found = weights(length, target)
    assert found.shape == (target, length)
    assert (found.sum(1) == 2048).all()
    assert (found >= 0).all()


def test_a_box_of_the_target_size_is_copied() -> None:
    frame = pixels(40, 50)
    assert np.array_equal(crop_resize(frame, (7, 3, 39, 35), (32, 32)), frame[3:35, 7:39])


def test_halves_by_hand() -> None:
    """From two pixels to one: both within the triangle, half each; 127.5 becomes 128, 0.5 becomes 1."""
    frame = np.array([[[0, 10, 0], [255, 20, 1]]], np.uint8)
    assert crop_resize(frame, (0, 0, 2, 1), (1, 1)).tolist() == [[[128, 15, 1]]]


def test_doubles_by_hand() -> None:
    """From two pixels to four: centres at 1/4, 3/4, 5/4, 7/4 of a pixel: 1, 3/4, 1/4, 0 of the first."""
    frame = np.array([[[0] * 3, [200] * 3]], np.uint8)
    assert crop_resize(frame, (0, 0, 2, 1), (1, 4))[0, :, 0].tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize(("size", "target"), [((256, 256), (32, 32)), ((100, 61), (32, 48)), ((17, 20), (32, 32))])
def test_close_to_pillow(size: tuple[int, int], target: tuple[int, int]) -> None:
    frame = pixels(*size)
    ours = crop_resize(frame, (0, 0, size[1], size[0]), target).astype(int)
    theirs = np.asarray(Image.fromarray(frame).resize(target[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_equals_the_definition_pixel_by_pixel() -> None:
    frame = pixels(9, 13)
    rows, columns = weights(7, 4).astype(int), weights(11, 5).astype(int)
    found = crop_resize(frame, (1, 2, 12, 9), (4, 5))
    for y in range(4):
        for x in range(5):
            total = sum(
                int(rows[y, i]) * int(columns[x, j]) * frame[2 + i, 1 + j].astype(int)
                for i in range(7)
                for j in range(11)
            )
            assert found[y, x].tolist() == ((total + 2**21) >> 22).tolist()


def test_a_white_picture_stays_white() -> None:
    assert (crop_resize(np.full((101, 77, 3), 255, np.uint8), (0, 0, 77, 101), (32, 32)) == 255).all()


def test_a_box_outside_is_clipped_to_a_pixel_at_least() -> None:
    assert clip_box((-5, -5, 10, 10), (20, 30)) == (0, 0, 10, 10)
    assert clip_box((25, 18, 60, 60), (20, 30)) == (25, 18, 30, 20)
    assert clip_box((90, 90, 99, 99), (20, 30)) == (29, 19, 30, 20)
    frame = pixels(20, 30)
    assert (crop_resize(frame, (90, 90, 99, 99), (4, 4)) == frame[19, 29]).all()


def test_the_frame_stays_as_it_was() -> None:
    frame = pixels(40, 40)
    before = frame.copy()
    crop_resize(frame, (0, 0, 32, 32), (32, 32))[:] = 0
    assert np.array_equal(frame, before)


def test_operations_count_non_zero_taps() -> None:
    """4x4 -> 2x2, doubling triangle: 3 taps for each of 2 outputs (the fourth weight is 0 or outside)."""
    taps = int((weights(4, 2) > 0).sum())
    assert taps == 6
    assert resize_operations((4, 4), (2, 2)) == 3 * (taps * 4 + taps * 2)
    assert resize_operations((32, 32), (32, 32)) == 0
