"""Weights of a layer: float as a step outline, compressed as filled steps, quantization levels as dashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter

from studio.plots.axes import SMALL, quiet, short
from studio.plots.palette import LIGHT, Palette

MOST_LEVELS = 63
"""Levels of 6 bits: more dashed lines would hide the data."""

SPIKE = 4
"""A single bar that is so many times higher than all others is cut, with its count written on it: pruned weights."""

LEAST = 0.7  # bottom of the logarithmic axis: one weight still shows


class Histogram:
    """Weight histogram on given axes; `update` shows other counts."""

    def __init__(self, axes: Axes, palette: Palette = LIGHT, *, log: bool = False) -> None:
        self.axes = axes
        quiet(axes, palette)
        nothing, edges = np.ones(1), np.array([0.0, 1.0])
        self._after = axes.stairs(nothing, edges, fill=True, color=palette.compressed, label="compressed")
        self._before = axes.stairs(nothing, edges, color=palette.float_, linewidth=1.4, label="float")
        self._levels = LineCollection(
            [], colors=palette.accent, linewidths=0.8, linestyles=(0, (2, 2)), transform=axes.get_xaxis_transform()
        )
        axes.add_collection(self._levels, autolim=False)
        self._count = axes.text(
            0, 0.99, "", transform=axes.get_xaxis_transform(), ha="center", va="top", color=palette.text, fontsize=SMALL
        )
        self._count.set_bbox({"facecolor": palette.panel, "edgecolor": "none", "pad": 1.5})
        axes.set_xlabel("weight")
        self.set_log(log)

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What changes, for blitting; the axes' limits change with it."""
        return self._after, self._before, self._levels, self._count

    def set_log(self, on: bool) -> None:
        """Logarithmic counts."""
        self.axes.set_yscale("log" if on else "linear")
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        self.axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        self._limit()

    def update(
        self, edges: np.ndarray, before: np.ndarray, after: np.ndarray | None = None, levels: Sequence[float] = ()
    ) -> None:
        """Show counts (bins,) on edges (bins + 1,); `levels`: weights that the grid can hold."""
        self._before.set_data(before, edges)
        self._after.set_data(np.zeros_like(before) if after is None else after, edges)
        self._after.set_visible(after is not None)
        shown = [x for x in levels if edges[0] <= x <= edges[-1]] if len(levels) <= MOST_LEVELS else []
        self._levels.set_segments([[(x, 0.0), (x, 1.0)] for x in shown])
        self.axes.set_xlim(float(edges[0]), float(edges[-1]))
        self._limit()

    def _limit(self) -> None:
        before, after, edges = self._before.get_data()[0], *self._after.get_data()[:2]
        top, cut = max(float(np.max(before)), float(np.max(after)), 1.0), None
        if self.axes.get_yscale() == "log":
            self.axes.set_ylim(LEAST, 2 * top)
        else:
            highest = int(np.argmax(after))
            others = max(float(np.max(before)), float(np.max(np.delete(after, highest), initial=0)), 1.0)
            if after[highest] > SPIKE * others:
                top, cut = 1.5 * others, highest
            self.axes.set_ylim(0, 1.05 * top)
        self._count.set_visible(cut is not None)
        if cut is not None:
            self._count.set_x(float(edges[cut] + edges[cut + 1]) / 2)
            self._count.set_text(short(float(after[cut])))


def draw(
    axes: Axes,
    edges: np.ndarray,
    before: np.ndarray,
    after: np.ndarray | None = None,
    levels: Sequence[float] = (),
    *,
    palette: Palette = LIGHT,
    log: bool = False,
) -> Histogram:
    """Draw counts before and after compression, (bins,) each, on edges (bins + 1,) in weight units."""
    plot = Histogram(axes, palette, log=log)
    plot.update(edges, before, after, levels)
    return plot
