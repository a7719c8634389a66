"""Edge density: the window with the most gradient, found through an integral image.

Gradient by central differences on a reduced picture, a noise floor taken off, summed over nested
windows so that what is sought lies in the middle of the box and not just somewhere inside
(integral image: Crow 1984; Viola & Jones 2001). Integers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from studio.attention._arithmetic import Arithmetic, Numpy, Tensor
from studio.attention._selector import Chosen, Selection, Size, clipped, places, selection
from studio.core.settings import Settings, setting

LUMA = (77, 150, 29)  # of 256, ITU-R BT.601
COLOUR = 2  # weight of the colour's gradient beside the luma's: differences of colour are smaller
PLANES = {"red": 0, "green": 1, "blue": 2}
UNIT = 16
"""A score of 16: the window's mean gradient lies one grey level a pixel above the frame's."""


class EdgeDensitySettings(Settings):
    """What the gradient is taken of, how finely it is searched, and when the network is woken."""

    channel: Literal["both", "luma", "colour", "red", "green", "blue"] = setting(
        "both",
        "What the gradient is taken of. Colour is the largest minus the smallest of red, green and blue; "
        "both adds luma and twice colour.",
    )
    reduce: int = setting(2, "The picture is searched at 1/reduce of its size.", low=1, high=16, step=1, unit="x")
    stride: int = setting(4, "Distance between two places of the window.", low=1, high=64, step=1, unit="px")
    floor: int = setting(
        8, "Gradients up to this are noise and texture and do not count.", low=0, high=128, step=1, unit="grey levels"
    )
    levels: int = setting(3, "Nested windows: more draw the box to the middle of what it finds.", low=1, high=4, step=1)
    margin: int = setting(0, "Rim of the crop that is not searched.", low=0, high=64, step=1, unit="px")
    threshold: int = setting(
        0, "Scores below it mean that nothing is there: the network sleeps.", low=0, high=2048, step=1, title="Wake at"
    )


@dataclass(frozen=True)
class _Layout:
    """Everything that follows from the sizes: reduced picture, windows, places."""

    work: Size  # reduced picture
    windows: tuple[tuple[Size, Size], ...]  # (offset, size) of each nested window, reduced pixels
    rows: list[int]  # starts of the outer window, reduced pixels
    columns: list[int]
    tops: list[int]  # the same as corners of the box in frame pixels
    lefts: list[int]

    @property
    def area(self) -> int:
        """Reduced pixels in all nested windows together."""
        return sum(size[0] * size[1] for _, size in self.windows)


def _layout(frame: Size, window: Size, s: EdgeDensitySettings) -> _Layout:
    work = frame[0] // s.reduce, frame[1] // s.reduce
    inner = [max(1, (length - 2 * s.margin) // s.reduce) for length in window]
    sizes = [tuple(-(-length * k // s.levels) for length in inner) for k in range(1, s.levels + 1)]
    nested = tuple((((inner[0] - h) // 2, (inner[1] - w) // 2), (h, w)) for h, w in sizes)
    step = max(1, s.stride // s.reduce)
    starts = [places(work[axis], inner[axis], step) for axis in (0, 1)]
    corners = []
    for axis in (0, 1):
        rim = (window[axis] - inner[axis] * s.reduce) // 2
        last = frame[axis] - window[axis]
        corners.append([min(max(0, p * s.reduce - rim), last) for p in starts[axis]])
    return _Layout(work, nested, starts[0], starts[1], corners[0], corners[1])


class EdgeDensity:
    """Selector of the window with the densest edges."""

    name = "edge_density"
    title = "Edge density"
    help = "The window with the most fine structure: gradient, noise floor, integral image."
    baseline = False
    settings = EdgeDensitySettings

    def refuses(self, frame: Size, window: Size, settings: EdgeDensitySettings) -> str | None:
        """Reason why frames of this size cannot be searched; None where they can."""
        if min(frame) // settings.reduce < 3:
            return f"A frame of {frame[1]}x{frame[0]} reduced {settings.reduce} times leaves no gradient."
        if min(clipped(frame, window)) <= 2 * settings.margin:
            return f"A margin of {settings.margin} pixels leaves nothing of a crop of {window[1]}x{window[0]}."
        return None

    def window(self, frame: Size, window: Size) -> Size:
        """`window`, at most the frame."""
        return clipped(frame, window)

    def compute(
        self, a: Arithmetic, pixels: Tensor, frame: Size, window: Size, settings: EdgeDensitySettings
    ) -> Chosen:
        """Corner and score of the best window; `pixels`: (h, w, 3) uint8."""
        layout = _layout(frame, window, settings)
        scale = settings.reduce**2
        gradient = _gradients(a, a.integers(pixels), layout.work, settings)
        table = a.pad(a.cumulative(gradient), 1, 0)
        sums = _window_sums(a, table, layout)
        best = a.first_maximum(sums)
        inside = _mean(a, a.at(sums, best), layout.area * scale)
        score = a.positive(a.subtract(inside, _frame_mean(a, table, layout, scale)))
        tops = np.repeat(layout.tops, len(layout.lefts)).reshape(len(layout.tops), -1)
        lefts = np.tile(layout.lefts, len(layout.tops)).reshape(len(layout.tops), -1)
        return Chosen(a.at(a.constant(tops), best), a.at(a.constant(lefts), best), score, gradient)

    def operations(self, frame: Size, window: Size, settings: EdgeDensitySettings) -> int:
        """Count one for each add, multiply-add, shift, absolute value and comparison.

        A frame pixel: 1 a colour read, for the block sum, where reduced. A reduced pixel: 4 for luma, 5 for
        colour, 7 for each gradient (2 differences, 2 absolute values, 1 sum, 2 for the floor), 1 to add
        both, 2 for the integral image. A place: 4 a nested window and 1 comparison.
        """
        layout = _layout(frame, clipped(frame, window), settings)
        spots = len(layout.rows) * len(layout.columns)
        colours = 3 if settings.channel in ("both", "luma", "colour") else 1
        reduced = {"both": 4 + 5 + 14 + 1, "luma": 4 + 7, "colour": 5 + 7}.get(settings.channel, 7) + 2
        blocks = frame[0] * frame[1] * colours if settings.reduce > 1 else 0
        return blocks + layout.work[0] * layout.work[1] * reduced + spots * (4 * settings.levels + 1)

    def select(self, frame: np.ndarray, window: Size, settings: EdgeDensitySettings) -> Selection:
        """Box, score and heat map of one frame: uint8 (h, w, 3)."""
        size = frame.shape[0], frame.shape[1]
        window = self.window(size, window)
        return selection(self.compute(Numpy(), frame, size, window, settings), window)


def _mean(a: Arithmetic, total: Tensor, pixels: int) -> Tensor:
    return a.divide(a.multiply(total, UNIT), pixels)


def _frame_mean(a: Arithmetic, table: Tensor, layout: _Layout, scale: int) -> Tensor:
    """Mean over the whole frame: noise and texture lie everywhere, what is sought in one place."""
    last = (layout.work[0] + 1) * (layout.work[1] + 1) - 1
    return _mean(a, a.at(table, a.constant([last])), layout.work[0] * layout.work[1] * scale)


def _gradients(a: Arithmetic, x: Tensor, work: Size, settings: EdgeDensitySettings) -> Tensor:
    """(h, w, 3) int32 -> gradient of the chosen channels on the reduced picture, sums over its blocks."""
    floor = settings.floor * settings.reduce**2

    def reduced(channel: int) -> Tensor:
        return a.block_sums(a.plane(x, channel), work, settings.reduce)

    if settings.channel in PLANES:
        return _gradient(a, reduced(PLANES[settings.channel]), work, floor)
    planes = [reduced(i) for i in range(3)]
    if settings.channel == "luma":
        return _gradient(a, _luma(a, planes), work, floor)
    colour = _gradient(a, _colour(a, planes), work, floor)
    if settings.channel == "colour":
        return colour
    return a.add(_gradient(a, _luma(a, planes), work, floor), a.multiply(colour, COLOUR))


def _luma(a: Arithmetic, planes: list[Tensor]) -> Tensor:
    red, green, blue = (a.multiply(plane, weight) for plane, weight in zip(planes, LUMA, strict=True))
    return a.divide(a.add(a.add(red, green), blue), 256)


def _colour(a: Arithmetic, planes: list[Tensor]) -> Tensor:
    red, green, blue = planes
    high, low = a.maximum(a.maximum(red, green), blue), a.minimum(a.minimum(red, green), blue)
    return a.subtract(high, low)


def _gradient(a: Arithmetic, plane: Tensor, work: Size, floor: int) -> Tensor:
    """|horizontal| + |vertical| central difference less the floor; the outermost pixels are 0."""
    rows, columns = range(1, work[0] - 1), range(1, work[1] - 1)
    lines, posts = a.take(plane, rows, 0), a.take(plane, columns, 1)
    across = a.subtract(a.take(lines, range(2, work[1]), 1), a.take(lines, range(work[1] - 2), 1))
    down = a.subtract(a.take(posts, range(2, work[0]), 0), a.take(posts, range(work[0] - 2), 0))
    size = a.add(a.absolute(across), a.absolute(down))
    return a.pad(a.positive(a.subtract(size, a.constant(floor))), 1, 1)


def _window_sums(a: Arithmetic, table: Tensor, layout: _Layout) -> Tensor:
    """Sums over the nested windows at all places: (rows, columns) int64."""
    total = None
    for (down, right), (height, width) in layout.windows:
        top = a.take(table, [r + down for r in layout.rows], 0)
        bottom = a.take(table, [r + down + height for r in layout.rows], 0)
        band = a.subtract(bottom, top)
        ends = a.take(band, [c + right + width for c in layout.columns], 1)
        part = a.subtract(ends, a.take(band, [c + right for c in layout.columns], 1))
        total = part if total is None else a.add(total, part)
    return total


SELECTOR = EdgeDensity()
