"""What all plots share: quiet axes, numbers a person reads, and one plot as a picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studio.plots.palette import LIGHT, Palette

SMALL = 9  # points


def quiet(axes: Axes, palette: Palette, *, grid: Literal["both", "x", "y"] = "y") -> None:
    """Colours of the palette, a thin grid behind the data, only the bottom spine."""
    axes.set_facecolor(palette.panel)
    axes.set_axisbelow(True)
    axes.grid(True, axis=grid, color=palette.line, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.ctl)
    axes.tick_params(which="both", length=0, colors=palette.text2, labelsize=SMALL)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(palette.text2)
        label.set_fontsize(SMALL)


def short(value: float) -> str:
    """Count with k or M: 950, 10 k, 2.5 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def picture(
    draw: Callable[[Axes], object],
    *,
    kind: Literal["png", "svg"] = "png",
    palette: Palette = LIGHT,
    size: tuple[float, float] = (6.4, 3.2),
    dpi: int = 150,
) -> bytes:
    """Content of a picture file of one plot; `size` in inches. The same plot gives the same bytes."""
    figure = Figure(figsize=size, dpi=dpi, layout="constrained", facecolor=palette.panel)
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    silent = {"Date": None} if kind == "svg" else {"Software": None}
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "studio"}):
        figure.savefig(content, format=kind, facecolor=palette.panel, metadata=silent)
    return content.getvalue()
