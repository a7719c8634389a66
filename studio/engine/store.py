"""Learned roundings by content key: in memory, and as small files in the user's folder."""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np

from studio.core import paths
from studio.core.encoding import Codebook, Encoding, Grid, Sparse, unpack
from studio.core.errors import FileError
from studio.engine.learn import Learned

KEPT = 64_000_000
"""Weights kept in memory."""
DISK = 256 << 20
"""Bytes of files kept, the newest ones."""
LENGTH = 4  # bytes that say how long the packed integers are; the bias and a check sum stand behind them


class LearnedStore:
    """What was learned, so that no session learns it again; from any thread. A damaged file counts as absent."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[str, Learned] = OrderedDict()

    def get(self, key: str, quick: Callable[[], Encoding]) -> Learned | None:
        """Return the result under a key; `quick`: the layer's encoding with nearest rounding, for its mask."""
        with self._lock:
            found = self._known.get(key)
        found = found or _read(key, quick)
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, learned: Learned) -> None:
        """Keep a result; a folder that cannot be written to costs only the next session's time."""
        self._remember(key, learned)
        values = learned.encoding.values if isinstance(learned.encoding, Sparse) else learned.encoding
        packed = values.pack()
        content = len(packed).to_bytes(LENGTH, "little") + packed + learned.bias.astype("<f4").tobytes()
        content += zlib.crc32(content).to_bytes(LENGTH, "little")
        with suppress(FileError, OSError):  # another process may remove old files at the same time
            paths.write_bytes(_file(key), content)
            _forget_old(_file(key).parent)

    def _remember(self, key: str, learned: Learned) -> None:
        with self._lock:
            self._known[key] = learned
            self._known.move_to_end(key)
            kept = sum(math.prod(one.encoding.shape) for one in self._known.values())
            while kept > KEPT and len(self._known) > 1:
                kept -= math.prod(self._known.popitem(last=False)[1].encoding.shape)


def _file(key: str) -> Path:
    return paths.user_folder() / "learned" / f"{key}.bin"


def _read(key: str, quick: Callable[[], Encoding]) -> Learned | None:
    try:
        stored = _file(key).read_bytes()
        content = stored[:-LENGTH]
        if zlib.crc32(content) != int.from_bytes(stored[-LENGTH:], "little"):
            return None
        size = int.from_bytes(content[:LENGTH], "little")
        values = unpack(content[LENGTH : LENGTH + size])
        bias = np.frombuffer(content[LENGTH + size :], "<f4").astype(np.float32)
    except (OSError, ValueError, FileError):
        return None
    expected = quick()
    inner = expected.values if isinstance(expected, Sparse) else expected
    if not _like(values, inner) or not np.isfinite(bias).all():
        return None
    return Learned(Sparse(expected.mask, values) if isinstance(expected, Sparse) else values, bias)


def _like(found: Encoding, quick: Encoding) -> bool:
    """True for what learning can make of the quick form: other integers and scales, other indices, or itself."""
    if isinstance(found, Grid) and isinstance(quick, Grid):
        same = replace(found, q=quick.q, scale=quick.scale).head() == quick.head()
        return same and found.scale.shape == quick.scale.shape
    if isinstance(found, Codebook) and isinstance(quick, Codebook):
        return found.shape == quick.shape and replace(found, indices=quick.indices).head() == quick.head()
    return found.pack() == quick.pack()


def _forget_old(folder: Path) -> None:
    """Remove the oldest files beyond `DISK` bytes."""
    files = sorted(folder.glob("*.bin"), key=lambda file: file.stat().st_mtime)
    excess = sum(file.stat().st_size for file in files) - DISK
    for file in files:
        if excess <= 0:
            return
        excess -= file.stat().st_size
        with suppress(OSError):
            file.unlink()
