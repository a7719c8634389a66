"""Plots: what is drawn is what was given, and an update changes it in place."""

from __future__ import annotations

import colorsys
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studio.plots import histogram, importance, singular_values, tradeoff
from studio.plots.axes import picture, short
from studio.plots.palette import DARK, LIGHT, Palette
from studio.plots.tradeoff import Point, pareto

EDGES = np.linspace(-1, 1, 6)
BEFORE, AFTER = np.array([1, 5, 20, 4, 0]), np.array([0, 8, 15, 7, 0])


@pytest.fixture
def axes() -> Axes:
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.subplots()


def painted(axes: Axes) -> bytes:
    axes.figure.canvas.draw()
    return bytes(axes.figure.canvas.buffer_rgba())


def test_histogram_shows_both_counts_and_the_levels(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE, AFTER, [-0.5, 0, 0.5, 2])
    after, before, levels, count = plot.artists
    assert not count.get_visible()
    assert before.get_data()[0].tolist() == BEFORE.tolist()
    assert after.get_data()[0].tolist() == AFTER.tolist()
    assert before.get_fill() is False
    assert after.get_fill() is True
    assert [segment[0][0] for segment in levels.get_segments()] == [-0.5, 0, 0.5]  # 2 lies outside
    assert axes.get_xlim() == (-1, 1)
    assert axes.get_ylim() == pytest.approx((0, 21))


def test_histogram_of_a_float_layer_has_no_bars(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE)
    assert not plot.artists[0].get_visible()
    plot.update(EDGES, BEFORE, AFTER)
    assert plot.artists[0].get_visible()


def test_histogram_cuts_the_spike_of_pruned_weights_and_writes_its_count(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE, np.array([0, 2, 1500, 2, 0]))
    count = plot.artists[3]
    assert count.get_visible()
    assert count.get_text() == "1.5 k"
    assert count.get_position()[0] == pytest.approx(0)
    assert axes.get_ylim()[1] < 100
    plot.set_log(True)
    assert not count.get_visible()
    assert axes.get_ylim()[1] > 1500


def test_histogram_does_not_draw_255_levels(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE, AFTER, np.linspace(-1, 1, 255).tolist())
    assert len(plot.artists[2].get_segments()) == 0


def test_histogram_on_a_logarithmic_axis_shows_a_single_weight(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE, AFTER, log=True)
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < 1
    painted(axes)
    plot.set_log(False)
    assert axes.get_ylim()[0] == 0


def test_histogram_updates_in_place(axes: Axes) -> None:
    plot = histogram.draw(axes, EDGES, BEFORE, AFTER)
    first, children = painted(axes), list(axes.get_children())
    plot.update(2 * EDGES, AFTER, BEFORE, [0.1])
    assert painted(axes) != first
    assert list(axes.get_children()) == children
    plot.update(EDGES, BEFORE, AFTER)
    assert painted(axes) == first


def test_importance_is_sorted_and_counts_what_falls_below(axes: Axes) -> None:
    plot = importance.draw(axes, np.array([1.0, 3.0, 2.0, 0.5]), 1.0)
    bars, line, count = plot.artists
    assert [path.vertices[:, 1].max() for path in bars.get_paths()] == [3, 2, 1, 0.5]
    assert count.get_text() == "3 kept · 1 dropped"
    assert list(line.get_ydata()) == [1.0, 1.0]
    assert bars.get_facecolor()[:, 3].tolist() == [1, 1, 1, 0]


def test_importance_without_threshold_drops_nothing(axes: Axes) -> None:
    plot = importance.draw(axes, np.array([0.0, 0.0]))
    bars, line, count = plot.artists
    assert not line.get_visible()
    assert not count.get_visible()
    assert bars.get_facecolor()[:, 3].tolist() == [1, 1]
    painted(axes)
    plot.update(np.zeros(0))
    painted(axes)


def test_singular_values_behind_the_rank_are_outlines(axes: Axes) -> None:
    values, energy = np.array([4.0, 2.0, 1.0, 1.0]), np.array([16, 20, 21, 22]) / 22
    plot = singular_values.draw(axes, values, energy, 2)
    bars, line, cut, text = plot.artists
    assert [path.vertices[:, 1].max() for path in bars.get_paths()] == values.tolist()
    assert bars.get_facecolor()[:, 3].tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(line.get_ydata() * singular_values.MARGIN, [0, *energy])
    assert list(cut.get_xdata()) == [2.5, 2.5]
    assert text.get_text() == "rank 2 of 4 · 90.9 % of the energy"


def test_singular_values_of_a_layer_that_stays_have_no_cut(axes: Axes) -> None:
    plot = singular_values.draw(axes, np.array([0.0, 0.0]), np.ones(2))
    bars, _, cut, text = plot.artists
    assert not cut.get_visible()
    assert not text.get_visible()
    assert bars.get_facecolor()[:, 3].tolist() == [1, 1]
    painted(axes)
    plot.update(np.zeros(0), np.zeros(0))
    painted(axes)


def test_pareto_by_hand() -> None:
    points = [Point(10, 0.7), Point(20, 0.6), Point(20, 0.8), Point(30, 0.8), Point(5, 0.9, "estimate"), Point(40, 0.9)]
    assert [(p.flash_bytes, p.value) for p in pareto(points)] == [(10, 0.7), (20, 0.8), (40, 0.9)]
    assert pareto([]) == []


def test_tradeoff_places_each_kind(axes: Axes) -> None:
    points = [
        Point(1024 * 1000, 0.81, "float", "float"),
        Point(1024 * 250, 0.8, "now"),
        Point(1024 * 300, 0.79),
        Point(1024 * 200, 0.7, "estimate"),
    ]
    plot = tradeoff.draw(axes, points, flash_limit=512 * 1024, floor=0.75)
    places = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert places["float"] == [[1000, 81]]
    assert places["now"] == [[250, 80]]
    assert places["measured"] == [[300, 79]]
    assert places["estimate"] == [[200, 70]]
    assert places["Pareto"] == [[250, 80], [1000, 81]]
    low, high = axes.get_xlim()
    assert low < 200 < 1000 < high
    limit, floor = plot.artists[1:3]
    assert list(limit.get_xdata()) == [512, 512]
    assert list(floor.get_ydata()) == [75, 75]
    assert [text.get_text() for text in axes.texts] == ["float"]
    plot.update(points[1:])
    assert not limit.get_visible()
    assert not axes.texts
    plot.update([])
    painted(axes)


def test_an_estimate_is_hollow_and_a_measurement_filled(axes: Axes) -> None:
    tradeoff.draw(axes, [Point(1024, 0.5), Point(1024, 0.5, "estimate")])
    face = {line.get_label(): line.get_markerfacecolor() for line in axes.get_lines()}
    assert face["estimate"] == "none"
    assert face["measured"] != "none"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_colours_can_be_told_apart(palette: Palette) -> None:
    assert all(
        contrast(getattr(palette, name), palette.panel) >= 4.5 for name in ("text", "text2", "ok", "warn", "bad")
    )
    marks = ("float_", "compressed", "updating", "accent", "ctl")
    assert all(contrast(getattr(palette, name), palette.panel) >= 3 for name in marks)
    for ramp in (palette.importance, palette.sensitivity):
        bright = [colorsys.rgb_to_hls(*(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)))[1] for c in ramp]
        assert bright == sorted(bright, reverse=palette is LIGHT)


def test_both_palettes_have_every_colour() -> None:
    for field in fields(Palette):
        assert getattr(LIGHT, field.name)
        assert getattr(DARK, field.name)


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_always_the_same(kind: Literal["png", "svg"], start: bytes) -> None:
    first, second = (
        picture(lambda axes: histogram.draw(axes, EDGES, BEFORE, AFTER, palette=DARK), palette=DARK, kind=kind)
        for _ in range(2)
    )
    assert first == second
    assert first.startswith(start)


def test_numbers_are_short() -> None:
    assert [short(v) for v in (0, 7, 950, 1000, 10_000, 2_500_000)] == ["0", "7", "950", "1 k", "10 k", "2.5 M"]


def test_plots_do_without_pyplot() -> None:
    code = "import studio.plots.histogram, studio.plots.importance, studio.plots.tradeoff, sys; "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=True, timeout=60)
