"""How the axes of stored samples become those of the network's input, found from the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.core.errors import DataError

CHANNELS = (1, 3)
"""Sizes that an axis of picture channels has."""
LAYOUTS = ("NCHW", "NHWC")
SAME = (0, 1, 2)
TURNED = {"NHWC": (2, 0, 1), "NCHW": (1, 2, 0)}
"""Order of axes that turns a sample of this layout into the other."""


@dataclass(frozen=True)
class Arrangement:
    """Stored axes (without N) in the network's order; axes of size 1 come and go in the reshape."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]  # of one sample in the network

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, *stored) -> (N, *network), a view where possible."""
        return x.transpose(0, *(a + 1 for a in self.axes)).reshape(len(x), *self.shape)


def arrange(
    stored: Sequence[int], network: Sequence[int], data_layout: str | None, model_layout: str | None, where: str
) -> Arrangement:
    """Fit one sample's stored shape to the network's (both without N).

    Layouts say where the channels of three axes lie, in the file and in the network; without them the shapes
    decide. Raises DataError where no order of axes fits, or two do.
    """
    stored, network = tuple(stored), tuple(network)
    three = len(stored) == 3 and len(network) == 3
    orders = _orders(data_layout, model_layout) if three else [tuple(range(len(stored)))]
    found = {tuple(a for a in o if stored[a] != 1): o for o in orders if _fits(stored, o, network)}
    if len(found) > 1:
        remedy = (
            'Say how the samples lie: store layout="NCHW" or "NHWC" in the .npz, or "layout" in --preprocess '
            "(in the app: Data)."
        )
        raise DataError(f"samples of shape {stored} fit the network in two ways.", where=where, remedy=remedy)
    if not found:
        remedy = "Give samples of that shape, or say in --preprocess (in the app: Data) how to resize them."
        raise DataError(
            f"samples of shape {stored} do not fit the network's input {network}.", where=where, remedy=remedy
        )
    return Arrangement(next(iter(found.values())), network)


def _orders(data_layout: str | None, model_layout: str | None) -> list[tuple[int, ...]]:
    """Orders of three axes that the layouts leave possible; an unknown layout leaves both."""
    pairs = [(d, m) for d in LAYOUTS if data_layout in (d, None) for m in LAYOUTS if model_layout in (m, None)]
    return list(dict.fromkeys(SAME if d == m else TURNED[d] for d, m in pairs))


def _fits(stored: tuple[int, ...], order: tuple[int, ...], network: tuple[int, ...]) -> bool:
    """True where axes in this order give the network's shape; as they lie, axes of size 1 do not count."""
    if order == tuple(range(len(stored))):
        return [n for n in stored if n != 1] == [n for n in network if n != 1]
    return tuple(stored[a] for a in order) == network


def picture_layout(network: Sequence[int], layout: str | None, where: str) -> str:
    """NCHW or NHWC of a network that takes pictures; (H, W) and (F,) count as NCHW. Raises DataError."""
    if layout is not None or len(network) != 3:
        return layout or "NCHW"
    first, last = network[0] in CHANNELS, network[2] in CHANNELS
    if first and last and len(set(network)) > 1 and network[0] == network[2] == 1:
        return "NCHW"
    if first and last:
        remedy = 'Say "layout": "NCHW" or "NHWC" in --preprocess (in the app: Data).'
        raise DataError(f"the network's input {tuple(network)} could be either layout.", where=where, remedy=remedy)
    if not first and not last:
        what = f"the network's input {tuple(network)} takes no pictures of 1 or 3 channels."
        raise DataError(what, where=where, remedy="Give samples as an .npz with 'x' of that shape.")
    return "NCHW" if first else "NHWC"


def picture_size(network: Sequence[int], layout: str) -> tuple[int, int] | None:
    """Height and width that the network takes, or None for an input of plain features."""
    if len(network) == 3:
        return (network[1], network[2]) if layout == "NCHW" else (network[0], network[1])
    return (network[0], network[1]) if len(network) == 2 else None


def channel_axis(network: Sequence[int], layout: str | None, values: int, where: str) -> int | None:
    """Axis of a batch (N first) along which `values` numbers of mean and std lie; None for one number.

    Raises DataError where no axis has this size, or the layout leaves two.
    """
    if values == 1:
        return None
    if len(network) == 3 and layout is not None:
        axes = [1 if layout == "NCHW" else 3]
    else:
        axes = sorted({1, len(network)})
    fits = [a for a in axes if network[a - 1] == values]
    if len(fits) == 1:
        return fits[0]
    what = f"'mean' and 'std' of {values} values do not fit the network's input {tuple(network)}."
    raise DataError(what, where=where, remedy='Give one number, or one for each channel (and "layout").')
