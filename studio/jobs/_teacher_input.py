"""Samples as a teacher with preprocessing of its own wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.core.errors import DataError, Refused
from studio.data.fit import value_count
from studio.data.layout import channel_axis
from studio.data.preprocess import Preprocess, along, load
from studio.engine.engine import Engine
from studio.jobs._samples import training_data
from studio.jobs._trainable import Change


def inputs_for(engine: Engine, path: str) -> Change:
    """Change of samples, (N, ...) as the network takes them, to what the file at `path` says; none for no path.

    Raises FileError for a file that cannot be read, and what `change_of` does.
    """
    if not path:
        return lambda x: x
    theirs = Preprocess.from_json(load(Path(path).expanduser()), path)
    return change_of(training_data(engine).preprocess, theirs, engine.network.input_shape[1:], path)


def change_of(ours: Preprocess, theirs: Preprocess, shape: Sequence[int], where: str) -> Change:
    """Change of samples of a shape (without N) from one preprocessing to another.

    Scale, mean, std and the order of channels count; size and layout are ours. Raises DataError where values do not
    fit the shape, Refused where pictures have other channels.
    """
    turned = _turned(ours, theirs, where)
    counts = [3 if turned else 1, *(value_count(one, where) for one in (ours, theirs))]
    axes = [channel_axis(shape, ours.layout, n, where) for n in counts]
    axis = next((a for a in axes if a is not None), None)
    line = _line(ours, theirs, turned, where)
    factor, shift = (torch.from_numpy(along(tuple(values.tolist()), len(shape) + 1, axis)) for values in line)

    def change(x: Tensor) -> Tensor:
        x = x.flip(axis) if turned and axis is not None else x
        return x * factor + shift

    return change


def _line(ours: Preprocess, theirs: Preprocess, turned: bool, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift, for each channel in the teacher's order, from what we make of a value to what they make."""
    if not ours.scale:
        raise DataError("the network's own preprocessing has scale 0: nothing is left of a sample.", where=where)
    turn = slice(None, None, -1) if turned else slice(None)
    mean, std = (np.array(values)[turn] for values in (ours.mean, ours.std))
    scale, its_mean, its_std = theirs.scale / ours.scale, np.array(theirs.mean), np.array(theirs.std)
    factor, shift = np.broadcast_arrays(std * scale / its_std, (mean * scale - its_mean) / its_std)
    return factor, shift


def _turned(ours: Preprocess, theirs: Preprocess, where: str) -> bool:
    """True where channels come in the other order."""
    mine, its = (one.channels or "RGB" for one in (ours, theirs))
    if mine != its and "L" in (mine, its) and theirs.channels is not None:
        what = f"the teacher wants {its} pictures, and the network takes {mine}."
        raise Refused(what, where=where, remedy="Choose a teacher for pictures of the same channels.")
    return {mine, its} == {"RGB", "BGR"}
