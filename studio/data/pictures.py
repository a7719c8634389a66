"""Encoded pictures -> uint8 arrays at the network's size, channels last."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from studio.core.errors import DataError
from studio.data.archive import LFS
from studio.data.preprocess import Preprocess

PIXELS = 64 << 20
"""Largest picture in pixels."""
KINDS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Decoders that strangers' files reach; others (one starts Ghostscript) stay closed."""


def decode(content: bytes, where: str) -> Image.Image:
    """Decode one picture; raises DataError that names it for anything that is no whole 8-bit picture.

    The camera's rotation note (EXIF) is not followed: boxes and trained networks count stored pixels.
    """
    remedy = "Replace or remove this picture."
    if content.startswith(LFS):
        remedy = "Run `git lfs pull` in its repository to fetch the real file."
        raise DataError("is a Git-LFS pointer, not the picture.", where=where, remedy=remedy)
    try:
        picture = Image.open(io.BytesIO(content), formats=KINDS)
        if picture.width * picture.height > PIXELS:
            what = f"the picture of {picture.width} x {picture.height} pixels is too large."
            raise DataError(what, where=where, remedy=f"At most {PIXELS >> 20} million pixels are decoded.")
        if picture.mode.startswith(("I", "F")):
            remedy = "Save it with 8 bits a channel."
            raise DataError(f"the picture has more than 8 bits ({picture.mode}).", where=where, remedy=remedy)
        picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error,
            Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        if "cannot identify" in reason:
            reason = "unknown kind"
        raise DataError(f"the picture cannot be decoded ({reason}).", where=where, remedy=remedy) from None
    return picture


def fit(picture: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Crop, resize and convert: (H, W, C) uint8, C = 1 for L, else 3 in the order of `channels`."""
    mode = "L" if preprocess.channels == "L" else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    array = np.asarray(shape(picture, preprocess))
    if mode == "L":
        return array[:, :, None]
    return array[:, :, ::-1] if preprocess.channels == "BGR" else array


def shape(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Crop to the model's aspect where asked, then resize with Pillow's BILINEAR (antialiased)."""
    if preprocess.resize is None:
        return picture
    height, width = preprocess.resize
    if preprocess.crop == "centre":
        picture = picture.crop(centre_box(picture.width, picture.height, width / height))
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def centre_box(width: int, height: int, aspect: float) -> tuple[int, int, int, int]:
    """Largest box of `aspect` (width / height) in the middle: left, top, right, bottom."""
    w = min(width, max(1, round(height * aspect)))
    h = min(height, max(1, round(width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
