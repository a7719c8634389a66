"""Doubts about the data, before any compression is blamed."""

from __future__ import annotations

import math

from studio.core.graph import Graph
from studio.core.result import Result


def doubt(graph: Graph, known: Result | None, expected: float | None) -> str | None:
    """Say what is probably wrong, preprocessing or labels, by the accuracy of the float model; None where all is well.

    `known`: the float model's result; `expected`: accuracy that it is known to have, 0..1.
    """
    if known is None or known.value is None or known.interval is None or known.metric != "top1":
        return None
    low, high = known.interval
    text = f"The float model itself is right on {100 * known.value:.1f} % of {known.samples:,} samples"
    remedy = "Preprocessing or labels are probably wrong: check Data before you compress anything."
    classes = math.prod(graph.layer(graph.outputs[0]).output_shape[1:])
    if classes > 1 and low <= 1.5 / classes:
        return f"{text}, about as often as guessing would be ({100 / classes:.1f} %). {remedy}"
    if expected is not None and high < expected - 0.02:
        return f"{text}, but {100 * expected:.1f} % were expected. {remedy}"
    return None
