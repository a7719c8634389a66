"""Activations kept between previews, within a byte budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from torch import Tensor

BUDGET = 768 * 1024 * 1024
"""Bytes of activations kept by default."""


class ActivationCache:
    """Tensors by (content key, chunk), never more than `budget` bytes.

    What the current program does not use goes first, the least recently used key before others.
    Among what it does use nothing is thrown out for something new: previews read the chunks in the
    same order again and again, where throwing out the oldest would lose every hit.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.bytes = 0
        self._kept: OrderedDict[str, dict[int, Tensor]] = OrderedDict()
        self._live: frozenset[str] = frozenset()

    def focus(self, keys: Iterable[str]) -> None:
        """Name the keys of the current program: these are kept longest."""
        self._live = frozenset(keys)
        for key in self._live:
            if key in self._kept:
                self._kept.move_to_end(key)

    def get(self, key: str, chunk: int) -> Tensor | None:
        """Kept tensor, or None."""
        return self._kept.get(key, {}).get(chunk)

    def put(self, key: str, chunk: int, value: Tensor) -> None:
        """Keep a tensor where the budget allows it."""
        size = value.nbytes
        if chunk in self._kept.get(key, {}) or not self._make_room(size):
            return
        self._kept.setdefault(key, {})[chunk] = value
        self.bytes += size

    def _make_room(self, size: int) -> bool:
        while self.bytes + size > self.budget:
            stale = next((key for key in self._kept if key not in self._live), None)
            if stale is None:
                return False
            self.bytes -= sum(tensor.nbytes for tensor in self._kept.pop(stale).values())
        return True


def forget(kept: dict[Any, Any], most: int) -> None:
    """Drop the oldest entries beyond so many."""
    while len(kept) > most:
        kept.pop(next(iter(kept)))
