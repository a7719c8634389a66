"""Importance of a layer's output channels, sorted, with the threshold below which channels would go."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.ticker import MaxNLocator

from studio.plots.axes import SMALL, quiet
from studio.plots.palette import LIGHT, Palette


class Importance:
    """Sorted bars on given axes; `update` shows other scores or another threshold."""

    def __init__(self, axes: Axes, palette: Palette = LIGHT) -> None:
        self.axes = axes
        self._ramp = LinearSegmentedColormap.from_list("importance", palette.importance)
        self._outline = to_rgba(palette.float_)
        quiet(axes, palette)
        self._bars = PolyCollection([], linewidths=0.8)
        axes.add_collection(self._bars, autolim=False)
        self._line = axes.axhline(0, color=palette.text, linewidth=1.2, linestyle="--", visible=False)
        self._count = axes.text(
            0.99, 0.95, "", transform=axes.transAxes, ha="right", va="top", color=palette.text, fontsize=SMALL,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": palette.panel, "edgecolor": palette.ctl, "linewidth": 0.8},
        )  # fmt: skip
        axes.set_xticks([])
        axes.yaxis.set_major_locator(MaxNLocator(3))

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What changes, for blitting; the axes' limits change with it."""
        return self._bars, self._line, self._count

    def update(self, scores: np.ndarray, threshold: float | None = None) -> None:
        """Scores (channels,), higher = keep; those below `threshold` become outlines."""
        ordered = np.sort(scores)[::-1]
        top = float(ordered[0]) if len(ordered) and ordered[0] > 0 else 1.0
        left = np.arange(len(ordered), dtype=np.float64)
        height = np.maximum(ordered, 0)
        corners = [(left, 0 * height), (left, height), (left + 0.86, height), (left + 0.86, 0 * height)]
        self._bars.set_verts(list(np.stack([np.stack(corner, -1) for corner in corners], 1)))
        kept = np.ones(len(ordered), np.bool_) if threshold is None else ordered >= threshold
        faces = self._ramp(height / top)
        faces[~kept, 3] = 0
        self._bars.set_facecolor(faces)
        self._bars.set_edgecolor(np.where(kept[:, None], faces, self._outline))
        self._line.set_visible(threshold is not None)
        self._line.set_ydata([threshold or 0.0] * 2)
        dropped = int((~kept).sum())
        self._count.set_text("" if threshold is None else f"{len(ordered) - dropped} kept · {dropped} dropped")
        self._count.set_visible(threshold is not None)
        self.axes.set_xlim(-0.5, max(len(ordered), 1) + 0.36)
        self.axes.set_ylim(0, 1.08 * top)


def draw(axes: Axes, scores: np.ndarray, threshold: float | None = None, *, palette: Palette = LIGHT) -> Importance:
    """Draw the scores (channels,) of one layer, the most important channel first."""
    plot = Importance(axes, palette)
    plot.update(scores, threshold)
    return plot
