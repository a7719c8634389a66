"""Integer resize: bilinear with antialias (the triangle filter of Pillow's BILINEAR), 11-bit weights.

Each axis has a small matrix of integer weights whose rows sum to 2048, so a pixel is
`(sum over rows and columns of wy * wx * p + 2^21) >> 22`: at most 255 * 2^22 + 2^21 < 2^31.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from studio.attention._selector import Box, Size

BITS = 11
ONE = 1 << BITS


@lru_cache(maxsize=64)
def weights(length: int, target: int) -> np.ndarray:
    """Weights (target, length) int32 that resize one axis; each row sums to 2048.

    In rational numbers: the filter at output i is a triangle around `(2 i + 1) length / (2 target)` of half
    width `max(length / target, 1)`; what lies outside of the picture is left out. Rounding leftovers go
    to the largest weight, the first of equals.
    """
    i, j = np.arange(target, dtype=np.int64)[:, None], np.arange(length, dtype=np.int64)[None, :]
    distance = np.abs((2 * j + 1) * target - (2 * i + 1) * length)
    triangle = np.maximum(2 * max(length, target) - distance, 0)
    total = triangle.sum(1, keepdims=True)
    rounded = (2 * ONE * triangle + total) // (2 * total)
    rounded[np.arange(target), triangle.argmax(1)] += ONE - rounded.sum(1)
    result: np.ndarray = rounded.astype(np.int32)
    result.flags.writeable = False
    return result


def clip_box(box: Box, frame: Size) -> Box:
    """Part of the box that lies inside the frame, at least one pixel."""
    left, top = min(max(0, box[0]), frame[1] - 1), min(max(0, box[1]), frame[0] - 1)
    return left, top, max(left + 1, min(box[2], frame[1])), max(top + 1, min(box[3], frame[0]))


def crop_resize(frame: np.ndarray, box: Box, size: Size) -> np.ndarray:
    """Cut `box` (left, top, right, bottom) out of a frame and resize it.

    frame: (h, w, channels) uint8; the result is (size[0], size[1], channels) uint8. The box is clipped
    into the frame; a box that already has the size is copied exactly.
    """
    left, top, right, bottom = clip_box(box, (frame.shape[0], frame.shape[1]))
    cut = frame[top:bottom, left:right]
    if cut.shape[:2] == size:
        return cut.copy()
    rows, columns = weights(cut.shape[0], size[0]), weights(cut.shape[1], size[1])
    # All products and sums are integers below 2^31, exact in float64, and its matrix product is fast.
    planes = cut.transpose(2, 0, 1).astype(np.float64)
    sums = rows.astype(np.float64) @ planes @ columns.T.astype(np.float64)
    pixels: np.ndarray = ((sums.astype(np.int64) + (1 << (2 * BITS - 1))) >> (2 * BITS)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def resize_operations(window: Size, size: Size) -> int:
    """Multiply-adds of the resize, three channels, rows first; 0 where nothing is resized."""
    if window == size:
        return 0
    down = int(np.count_nonzero(weights(window[0], size[0])))
    across = int(np.count_nonzero(weights(window[1], size[1])))
    return 3 * (down * window[1] + across * size[0])
