"""Singular values of a layer, largest first, with the kept rank marked and the energy that it holds."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from studio.plots.axes import SMALL, quiet
from studio.plots.palette import LIGHT, Palette

MARGIN = 1.08  # of the height above the largest value


class SingularValues:
    """Bars on given axes, those behind the rank as outlines; `update` shows other values or another rank."""

    def __init__(self, axes: Axes, palette: Palette = LIGHT) -> None:
        self.axes = axes
        self._palette = palette
        quiet(axes, palette)
        self._bars = PolyCollection([], linewidths=0.8)
        axes.add_collection(self._bars, autolim=False)
        # The energy has the height of the axes, 0 to 1, whatever the values are.
        (self._energy,) = axes.plot(
            [], [], color=palette.text2, linewidth=1.6, transform=axes.get_xaxis_transform(),
            path_effects=[withStroke(linewidth=4, foreground=palette.panel)],
        )  # fmt: skip
        axes.text(
            0.99, 0.885, "kept energy, 0 to 100 %", transform=axes.transAxes, ha="right", va="top",
            color=palette.text2, fontsize=SMALL,
        )  # fmt: skip
        self._line = axes.axvline(0, color=palette.text, linewidth=1.2, linestyle="--", visible=False)
        self._text = axes.text(
            0.99, 0.72, "", transform=axes.transAxes, ha="right", va="top", color=palette.text, fontsize=SMALL,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": palette.panel, "edgecolor": palette.ctl, "linewidth": 0.8},
        )  # fmt: skip
        axes.set_xlabel("rank")
        axes.set_ylabel("singular value")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3))

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What changes, for blitting; the axes' limits change with it."""
        return self._bars, self._energy, self._line, self._text

    def update(self, values: np.ndarray, energy: np.ndarray, rank: int | None = None) -> None:
        """Show singular values (n,), largest first, and the share of energy that the first 1, 2, ... hold, (n,)."""
        count = len(values)
        top = float(values[0]) if count and values[0] > 0 else 1.0
        left = np.arange(count) + 0.57
        corners = [(left, 0 * left), (left, values), (left + 0.86, values), (left + 0.86, 0 * left)]
        self._bars.set_verts(list(np.stack([np.stack(corner, -1) for corner in corners], 1)))
        kept = np.arange(count) < (count if rank is None else rank)
        fill, outline = self._palette.compressed, self._palette.float_
        self._bars.set_facecolor([fill if one else "none" for one in kept])
        self._bars.set_edgecolor([fill if one else outline for one in kept])
        self._energy.set_data(np.arange(count + 1) + 0.5, np.concatenate([[0.0], energy]) / MARGIN)
        shown = rank is not None and 0 < rank <= count
        self._line.set_visible(shown)
        self._text.set_visible(shown)
        if rank is not None and shown:
            self._line.set_xdata([rank + 0.5] * 2)
            self._text.set_text(f"rank {rank} of {count} · {100 * energy[rank - 1]:.1f} % of the energy")
        self.axes.set_xlim(0.5, max(count, 1) + 0.5)
        self.axes.set_ylim(0, MARGIN * top)


def draw(
    axes: Axes, values: np.ndarray, energy: np.ndarray, rank: int | None = None, *, palette: Palette = LIGHT
) -> SingularValues:
    """Draw singular values (n,), largest first, the line of kept energy (n,) from 0 to 1, and the rank as a cut."""
    plot = SingularValues(axes, palette)
    plot.update(values, energy, rank)
    return plot
