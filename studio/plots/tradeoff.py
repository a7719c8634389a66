"""Accuracy over flash: the float model, what was measured, what is estimated, and the Pareto line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from studio.plots.axes import SMALL, quiet
from studio.plots.palette import LIGHT, Palette

Kind = Literal["float", "measured", "now", "estimate"]


@dataclass(frozen=True)
class Point:
    """One plan. `value`: the metric, 0..1; only `estimate` was not measured."""

    flash_bytes: float
    value: float
    kind: Kind = "measured"
    label: str = ""


def pareto(points: Iterable[Point]) -> list[Point]:
    """Measured points that no other one beats in both flash and value, the smallest first."""
    front: list[Point] = []
    known = [point for point in points if point.kind != "estimate"]
    for point in sorted(known, key=lambda p: (p.flash_bytes, -p.value)):
        if not front or point.value > front[-1].value:
            front.append(point)
    return front


class Tradeoff:
    """Dots on given axes; `update` shows other points, limits and labels."""

    def __init__(self, axes: Axes, palette: Palette = LIGHT) -> None:
        self.axes = axes
        quiet(axes, palette)
        self._palette = palette
        self._front = axes.plot([], [], color=palette.ok, linewidth=1.4, label="Pareto", zorder=2)[0]
        self._limit = axes.axvline(1, color=palette.text, linewidth=1.4, visible=False)
        self._floor = axes.axhline(0, color=palette.text2, linewidth=1, linestyle="--", visible=False)
        self._dots = {kind: self._markers(kind) for kind in ("measured", "float", "estimate", "now")}
        self._labels: list[Annotation] = []
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f} %"))
        axes.set_xlabel("flash, KiB")

    def _markers(self, kind: str) -> Line2D:
        p = self._palette
        marks: dict[str, dict[str, Any]] = {
            "measured": {"marker": "o", "markersize": 5.5, "markerfacecolor": p.neutral, "markeredgecolor": p.float_},
            "float": {"marker": "*", "markersize": 12, "markerfacecolor": p.float_, "markeredgecolor": p.float_},
            "estimate": {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": p.compressed},
            "now": {"marker": "o", "markersize": 9, "markerfacecolor": p.compressed, "markeredgecolor": p.panel},
        }
        width = 1.8 if kind == "estimate" else 1
        return self.axes.plot([], [], linestyle="none", markeredgewidth=width, label=kind, zorder=3, **marks[kind])[0]

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What changes, for blitting; the axes' limits change with it."""
        return self._front, self._limit, self._floor, *self._dots.values(), *self._labels

    def update(self, points: Sequence[Point], *, flash_limit: float | None = None, floor: float | None = None) -> None:
        """Show plans; `flash_limit` in bytes and `floor` (metric, 0..1) are lines."""
        for kind, dots in self._dots.items():
            dots.set_data(*_places([p for p in points if p.kind == kind]))
        self._front.set_data(*_places(pareto(points)))
        self._limit.set_visible(flash_limit is not None)
        self._limit.set_xdata([(flash_limit or 1024) / 1024] * 2)
        self._floor.set_visible(floor is not None)
        self._floor.set_ydata([100 * (floor or 0)] * 2)
        self._write(points)
        self._show(points, flash_limit, floor)

    def _write(self, points: Sequence[Point]) -> None:
        for label in self._labels:
            label.remove()
        self._labels = [
            self.axes.annotate(
                p.label, (p.flash_bytes / 1024, 100 * p.value), (0, 7), textcoords="offset points", ha="center",
                va="bottom", color=self._palette.text, fontsize=SMALL,
            )
            for p in points if p.label
        ]  # fmt: skip

    def _show(self, points: Sequence[Point], flash_limit: float | None, floor: float | None) -> None:
        sizes = [p.flash_bytes / 1024 for p in points] + ([flash_limit / 1024] if flash_limit else [])
        values = [100 * p.value for p in points] + ([100 * floor] if floor is not None else [])
        if not points:
            return
        self.axes.set_xlim(0.8 * max(min(sizes), 0.01), 1.25 * max(sizes))
        margin = max(0.12 * (max(values) - min(values)), 0.25)
        self.axes.set_ylim(max(min(values) - margin, -1), max(values) + 1.6 * margin)


def _places(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p.flash_bytes / 1024 for p in points]), np.array([100 * p.value for p in points])


def draw(
    axes: Axes,
    points: Sequence[Point],
    *,
    flash_limit: float | None = None,
    floor: float | None = None,
    palette: Palette = LIGHT,
) -> Tradeoff:
    """Draw plans as dots: star = float, filled = measured, ring = estimate, large = the current plan."""
    plot = Tradeoff(axes, palette)
    plot.update(points, flash_limit=flash_limit, floor=floor)
    return plot
