"""Plots of a session as files: the trade-off so far, and the layer with the most weights."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from studio.session.layer_parts import value_levels

if TYPE_CHECKING:
    from studio.plots.tradeoff import Point
    from studio.session.session import Session

BINS = 101


def pictures(session: Session) -> dict[str, bytes]:
    """PNG files by name: tradeoff.png, weights.png, importance.png. Uses what was measured; measures nothing."""
    from studio.plots import histogram, importance, tradeoff
    from studio.plots.axes import picture

    largest = max(session.graph.weighted, key=lambda layer: layer.parameters)
    view = session.layer(largest.name)
    before, edges = view.histogram(BINS)
    after, _ = view.histogram(BINS, compressed=True)
    levels = value_levels(view.encoding, np.median).tolist()
    weights = partial(histogram.draw, edges=edges, before=before, after=after, levels=levels)
    scores = partial(importance.draw, scores=view.importance("l1"))
    return {
        "tradeoff.png": picture(partial(tradeoff.draw, points=points(session))),
        "weights.png": picture(weights),
        "importance.png": picture(scores),
    }


def points(session: Session) -> list[Point]:
    """One dot for each plan that was measured on all samples; plans without steps are the float model itself."""
    from studio.plots.tradeoff import Kind, Point

    found = []
    known = session.float_result
    if known is not None and known.value is not None:
        found.append(Point(session.float_cost.flash_bytes, known.value, "float", "float"))
    for key, measured in session.measured.items():
        result = measured.result
        steps = measured.plan.defaults or measured.plan.layers
        if result.value is not None and result.complete and steps:
            kind: Kind = "now" if key == session.plan.key else "measured"
            found.append(Point(result.cost.flash_bytes, result.value, kind, measured.label))
    return found
