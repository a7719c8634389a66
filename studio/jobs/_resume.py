"""What a job keeps in its checkpoints: stages that are done, and where the one in work stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from studio.jobs._base import Task

Content = Mapping[str, Any]
"""Torch tensors and JSON values by name."""
_KEY, _STAGE, _DONE, _NOW = "job", "stage", "done:", "now:"


class Keeper:
    """Checkpoints of one job; stages run one after the other, each leaves its content for the next."""

    def __init__(self, task: Task) -> None:
        self._checkpoints = task.checkpoints
        self._key = _key(task)
        found = task.checkpoints.load()
        # A checkpoint of other settings or of another plan would lead to another result.
        kept = found if found is not None and found.get(_KEY) == self._key else {}
        self._stage = int(kept.get(_STAGE, 0))
        self._now = _under(kept, _NOW)
        self._done = {i: _under(kept, f"{_DONE}{i}:") for i in range(self._stage)}

    def done(self, stage: int) -> Content | None:
        """What a finished stage left, or None where it is still to run."""
        return self._done.get(stage)

    def now(self, stage: int) -> Content | None:
        """Where a stage stood when it was last saved, or None at its start."""
        return self._now if stage == self._stage and self._now else None

    def due(self) -> bool:
        """True where it is time to save."""
        return self._checkpoints.due()

    def save(self, stage: int, content: Content) -> None:
        """Keep where a stage stands; raises FileError on a full disk."""
        self._stage, self._now = stage, dict(content)
        self._write()

    def finish(self, stage: int, content: Content) -> Content:
        """Keep what a stage leaves, and go on with the next one; returns the content."""
        self._done[stage] = dict(content)
        self._stage, self._now = stage + 1, {}
        self._write()
        return content

    def _write(self) -> None:
        done = {f"{_DONE}{i}:{name}": value for i, own in self._done.items() for name, value in own.items()}
        now = {_NOW + name: value for name, value in self._now.items()}
        self._checkpoints.save({_KEY: self._key, _STAGE: self._stage, **done, **now})


def tensors_under(content: Content, prefix: str) -> dict[str, Tensor]:
    """Tensors of a content whose names begin with the prefix, without it."""
    return {name: value for name, value in _under(content, prefix).items() if isinstance(value, Tensor)}


def copies(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors as they are now, by name behind a prefix."""
    return {prefix + name: tensor.detach().clone() for name, tensor in tensors.items()}


def put(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Write values into tensors of the same names and shapes, in place."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])


def _under(content: Content, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)}


def _key(task: Task) -> str:
    text = json.dumps([task.plan.key, type(task.settings).__name__, task.settings.model_dump()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
