"""Samples made by the user's own code: run only when the user has named it and said that it is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import code
from studio.core.errors import DataError
from studio.data import npz
from studio.data.archive import NamedArrays
from studio.data.sources import Source

FORM = "Let it return (x, y), or a dict with what an .npz holds: x, y, layout, mean, std, scale, classes."


class Made(NamedArrays):
    """What the code returned, to be read as an .npz is."""

    def __init__(self, name: str, arrays: Mapping[str, Any]) -> None:
        self.path, self._members = Path(name), arrays

    def array(self, name: str) -> np.ndarray:
        """Return one as an array; raises DataError for what is none."""
        try:
            found = np.asarray(self._members[name])
        except Exception as error:
            raise DataError(f"'{name}' is no array ({error}).", where=str(self.path), remedy=FORM) from None
        if found.dtype.hasobject:
            raise DataError(f"'{name}' holds Python objects, not numbers.", where=str(self.path), remedy=FORM)
        return found


def read(name: str, label: str | None, *, trust: bool) -> Source:
    """Samples from `package.module:function`, which takes nothing and returns the same at every call.

    Jobs call it again in their own process. Raises PlanError without `trust`, DataError where it fails or returns
    something else.
    """
    found = code.call(name, "data function", trust=trust, error=DataError)
    if isinstance(found, tuple) and len(found) == 2:
        found = dict(zip(("x", "y"), found, strict=True))
    if not isinstance(found, Mapping):
        raise DataError(f"the data function returned {type(found).__name__}.", where=name, remedy=FORM)
    made = Made(name, {str(key): value for key, value in found.items() if value is not None})
    return replace(npz.samples(made, label), stamp=_digest(made))


def _digest(made: Made) -> str:
    """Identity of the arrays, which no file tells."""
    total = hashlib.blake2b(digest_size=16)
    for name in made.names:
        total.update(name.encode())
        total.update(made.array(name).tobytes())
    return total.hexdigest()
