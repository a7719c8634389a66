"""What the channels card says of a layer: which others are cut with it, and how far the metric allows to go."""

from __future__ import annotations

from studio.core.graph import Layer

NAMED = 3
"""Companions named; of more their number."""
FURTHEST = "As far as ..."
TIP = "Find the largest cut within a drop of the metric that you choose, by measuring"


def cut_note(layer: Layer, data: bool, able: bool) -> tuple[str, str, str]:
    """Text, caption of the button and its tooltip; all empty for a layer that cannot be cut."""
    if not able or layer.uncut is not None or layer.group is None:
        return "", "", ""
    names = layer.companions
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    text = f"Cut together with {', '.join(names[:NAMED])}{more}" if names else "Cut alone"
    return text, FURTHEST if data else "", TIP
