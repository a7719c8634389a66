"""Pairs of idx files (MNIST's format, http://yann.lecun.com/exdb/mnist): pictures and labels, perhaps gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from studio.core.errors import DataError, FileError
from studio.data.archive import check_file, memory_limit
from studio.data.sources import Arrays, integer_labels


def is_idx(path: Path) -> bool:
    """True for names such as `t10k-images-idx3-ubyte.gz`."""
    return "idx" in path.name and path.name.removesuffix(".gz").endswith(("ubyte", "idx", "idx1", "idx3", "idx4"))


def read(path: Path) -> Arrays:
    """Pictures of an idx file, with the labels of the file beside it. Raises FileError or DataError."""
    if "labels" in path.name and "images" not in path.name:
        images = path.name.replace("labels", "images").replace("idx1", "idx3")
        remedy = f"Open {images}: its labels are found beside it."
        raise DataError("holds labels, not samples.", where=str(path), remedy=remedy)
    x = _array(path)
    if x.ndim < 2:
        raise DataError(f"holds shape {x.shape}, no samples.", where=str(path), remedy="Open the images file.")
    stem = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for name in (stem, stem + ".gz"):
        file = path.with_name(name)
        if name != path.name and file.exists():
            return Arrays(path, x, integer_labels(_array(file), len(x), str(file), "labels"))
    return Arrays(path, x)


def _array(path: Path) -> np.ndarray:
    """uint8 array of one file; no more is read than its header says."""
    check_file(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            zero, kind, rank = struct.unpack(">HBB", file.read(4))
            if zero or kind != 8 or not 0 < rank < 6:
                remedy = "It needs unsigned bytes (0x08) with 1 to 5 axes."
                raise FileError("is no idx file of bytes.", where=str(path), remedy=remedy)
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            if size > memory_limit():
                remedy = "Give a file that fits into memory."
                raise DataError(f"says it holds {size:,} bytes.", where=str(path), remedy=remedy)
            content = file.read(size)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise FileError(f"is damaged ({error}).", where=str(path), remedy="Copy it again.") from None
    if len(content) != size or not size:
        what = f"holds {len(content):,} of {size:,} bytes."
        raise FileError(what, where=str(path), remedy="It is cut off: copy it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
