"""Arrays of an .npz file, without ever unpickling and with sizes checked before memory is taken."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from studio.core.errors import DataError, FileError

LIMIT = 16 << 30
"""Largest array in bytes that is read into memory."""
MAPPED = 256 << 20
"""Stored (uncompressed) arrays from this size on are mapped from the file instead of read."""
LFS = b"version https://git-lfs"


class NamedArrays(ABC):
    """Arrays by name from one place: an .npz, or what code of the user's has made."""

    path: Path
    _members: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in their order."""
        return tuple(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @abstractmethod
    def array(self, name: str) -> np.ndarray:
        """Return one array; raises DataError for Python objects and what is no array."""


class Archive(NamedArrays):
    """An open .npz; `array(name)` reads one."""

    def __init__(self, path: Path) -> None:
        """Raise FileError for a missing, empty or damaged file, a Git-LFS pointer or another kind."""
        self.path = path
        check_file(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            remedy = "Save it again with numpy.savez(path, x=..., y=...), or copy it again."
            raise FileError(f"is no whole .npz file ({_reason(error)}).", where=str(path), remedy=remedy) from None

    def array(self, name: str) -> np.ndarray:
        """Return one array; raises DataError for pickled objects, damaged content and absurd sizes."""
        info = self._members[name]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as file:
                shape, fortran, dtype, start = self._header(file, info, name)
                if info.compress_type == zipfile.ZIP_STORED and info.file_size >= MAPPED:
                    return self._mapped(info, start, shape, dtype, fortran)
                self._check_memory(info.file_size, name)
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                # Reading to the end makes zipfile compare the checksum.
                file.read(1)
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, struct.error) as error:
            remedy = "Save the file again, or copy it again."
            raise DataError(f"'{name}' is damaged ({_reason(error)}).", where=str(self.path), remedy=remedy) from None
        return array

    def _header(
        self, file: IO[bytes], info: zipfile.ZipInfo, name: str
    ) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array format {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            what = f"'{name}' holds pickled Python objects, which are never loaded."
            remedy = "Save it as numbers, for instance numpy.asarray(value, dtype='float32')."
            raise DataError(what, where=str(self.path), remedy=remedy)
        start = file.tell()
        if math.prod(shape) * dtype.itemsize != info.file_size - start:
            raise ValueError(f"the header says shape {shape}, the content is {info.file_size - start:,} bytes")
        return shape, fortran, dtype, start

    def _check_memory(self, size: int, name: str) -> None:
        limit = memory_limit()
        if size > limit:
            what = f"'{name}' unpacks to {size / (1 << 30):.1f} GiB, more than the {limit / (1 << 30):.1f} GiB allowed."
            remedy = "Save it with numpy.savez (uncompressed), which is streamed, or save fewer samples."
            raise DataError(what, where=str(self.path), remedy=remedy)

    def _mapped(
        self, info: zipfile.ZipInfo, start: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], fortran: bool
    ) -> np.ndarray:
        with self.path.open("rb") as raw:
            raw.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", raw.read(4))
        offset = info.header_offset + 30 + name + extra + start
        return np.memmap(self.path, dtype, "r", offset, shape, "F" if fortran else "C")


def memory_limit() -> int:
    """Largest array in bytes that may be read into memory here."""
    return min(LIMIT, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def check_file(path: Path) -> None:
    """Raise FileError for a file that is missing, no file, empty or a Git-LFS pointer."""
    if path.exists() and not path.is_file():
        raise FileError("is not a file.", where=str(path), remedy="Give a file, or a folder of pictures.")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be opened ({reason}).", where=str(path), remedy="Check the path.") from None
    if not head:
        raise FileError("is empty.", where=str(path), remedy="Copy or save it again.")
    if head.startswith(LFS):
        remedy = "Run `git lfs pull` in its repository to fetch the real file."
        raise FileError("is a Git-LFS pointer, not the data.", where=str(path), remedy=remedy)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0].rstrip(".")[:200] or type(error).__name__
