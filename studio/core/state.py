"""What training decided, as a value: weights, cuts, masks, codebooks, scales, ranges; a content-addressed file.

A state belongs to a plan with rewrites (`made_for["rewrites"]`): its tensors have the shapes of the
network that these make. Decisions on single layers are encodings, each filed under the key of the
steps that it stands for; a layer whose steps have changed since is encoded anew from the tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import paths
from studio.core.errors import FileError
from studio.core.step import Steps

FORMAT = 1
_TENSOR, _KEPT, _ENCODING = "tensor:", "kept:", "encoding:"


@dataclass(frozen=True, eq=False)
class State:
    """Frozen result of a job.

    `tensors`: float32 by "conv1.weight", "conv1.bias" of the rewritten network. `kept`: bool (channels,)
    by channel group. `encodings`: packed, by layer and `steps_key`. `ranges`: (low, high) by tensor,
    where the job learned them. `made_for`: keys of the parts of the plan that were decided.
    `about`: job, settings, figures; not part of the content.
    """

    tensors: Mapping[str, np.ndarray]
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    encodings: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    made_for: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """`sha256:...` over everything but `about`."""
        digest = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return "sha256:" + digest.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the file atomically; raises FileError for an unwritable folder or a full disk."""
        from safetensors.numpy import save

        about = json.dumps({**self._header(), "id": self.id, "about": dict(self.about)})
        paths.write_bytes(Path(path), save(self._arrays(), metadata={"edge_studio_state": about}))

    @classmethod
    def load(cls, path: Path | str) -> State:
        """Read a file; raises FileError where it is missing, damaged or no state."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            content = Path(path).read_bytes()
            state, wanted = cls._from(load(content), _metadata(content))
        except OSError as error:
            raise FileError(f"cannot be read ({error.strerror}).", where=str(path), remedy="Check the path.") from None
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "Run the job again."
            raise FileError(f"is not a training state: {error}.", where=str(path), remedy=remedy) from None
        if state.id != wanted:
            raise FileError("is damaged: its check sum does not fit.", where=str(path), remedy="Run the job again.")
        return state

    @classmethod
    def _from(cls, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> tuple[State, str]:
        state = cls(
            tensors=_under(arrays, _TENSOR),
            kept={name: array.astype(np.bool_) for name, array in _under(arrays, _KEPT).items()},
            encodings=_encodings(_under(arrays, _ENCODING)),
            ranges={name: (float(low), float(high)) for name, (low, high) in header["ranges"].items()},
            made_for=dict(header["made_for"]),
            about=dict(header["about"]),
        )
        return state, str(header["id"])

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "ranges": {name: [float(low), float(high)] for name, (low, high) in sorted(self.ranges.items())},
            "made_for": dict(sorted(self.made_for.items())),
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {_TENSOR + n: np.ascontiguousarray(a, np.float32) for n, a in self.tensors.items()}
        found |= {_KEPT + n: a.astype(np.uint8) for n, a in self.kept.items()}
        for layer, own in self.encodings.items():
            found |= {f"{_ENCODING}{key}:{layer}": np.frombuffer(c, np.uint8) for key, c in own.items()}
        return found


def steps_key(steps: Steps) -> str:
    """Key of a sequence of steps on a layer, whatever the weights."""
    return hashlib.sha256(json.dumps([step.identity for step in steps]).encode()).hexdigest()[:32]


def _metadata(content: bytes) -> dict[str, Any]:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    found: dict[str, Any] = json.loads(header["__metadata__"]["edge_studio_state"])
    if found["format"] != FORMAT:
        raise ValueError(f"its format {found['format']!r} is not known here")
    return found


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _encodings(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for name, array in arrays.items():
        key, _, layer = name.partition(":")
        found.setdefault(layer, {})[key] = array.tobytes()
    return found
