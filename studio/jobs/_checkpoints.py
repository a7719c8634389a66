"""The checkpoint of a job as one file: torch tensors and JSON values, never code, written atomically."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.core import paths
from studio.core.errors import FileError

_META = "edge_studio_checkpoint"


class FileCheckpoints:
    """`Checkpoints` in one file. `seconds`: work done so far, over all starts of the job."""

    def __init__(self, path: Path, *, every: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """`every`: seconds of work between two saves. `hurry()`: True where one is due at once, before a break."""
        self._path = path
        self._every = every
        self._hurry = hurry
        self._saved = time.monotonic()
        self._before = 0.0
        self._began = time.monotonic()
        self.saves = 0

    @property
    def seconds(self) -> float:
        """Seconds of work, those before a restart included."""
        return self._before + time.monotonic() - self._began

    def rest(self, seconds: float) -> None:
        """Leave out a pause: it is no work, and nothing is lost by it."""
        self._began += seconds
        self._saved += seconds

    def load(self) -> Mapping[str, Any] | None:
        """Return what `save` kept last, or None; raises FileError for a damaged file."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileError(f"cannot be read ({error.strerror}).", where=str(self._path), remedy=_REMEDY) from None
        tensors, values, self._before = _unpacked(content, self._path)
        self._began = self._saved = time.monotonic()
        return {**values, **tensors}

    def due(self) -> bool:
        """True where the last save is so long ago that more than 30 s of work could be lost."""
        return self._hurry() or time.monotonic() - self._saved >= self._every

    def save(self, content: Mapping[str, Any]) -> None:
        """Keep tensors and JSON values by name; raises FileError on a full disk, the last checkpoint then stays."""
        paths.write_bytes(self._path, _packed(content, self.seconds))
        self._saved = time.monotonic()
        self.saves += 1


_REMEDY = "Cancel the job and start it anew."


def _packed(content: Mapping[str, Any], seconds: float) -> bytes:
    from safetensors.torch import save

    # Clones: tensors that share memory (views, tied weights) are no safetensors.
    tensors = {n: t.detach().cpu().contiguous().clone() for n, t in content.items() if isinstance(t, torch.Tensor)}
    values = {name: value for name, value in content.items() if name not in tensors}
    return save(tensors, metadata={_META: json.dumps({"seconds": seconds, "values": values})})


def _unpacked(content: bytes, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], float]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        meta = json.loads(header["__metadata__"][_META])
        return tensors, dict(meta["values"]), float(meta["seconds"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"is no checkpoint: {error}.", where=str(path), remedy=_REMEDY) from None
