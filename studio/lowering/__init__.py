"""Plan + ranges -> the frozen integer network; the one arithmetic, executed in torch.

Importing it (for the types of `lowering.program`, say) loads no torch; `lower` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.core.encoding import Encoding
    from studio.lowering.program import Program
    from studio.network.network import Network

__all__ = ["lower"]


def lower(
    network: Network,
    encodings: Mapping[str, Encoding],
    ranges: Mapping[str, tuple[float, float]],
    activation_bits: Mapping[str, int | None] | None = None,
) -> Program:
    """Integers of a folded network, made once: see `studio.lowering.build.lower`."""
    from studio.lowering import build

    return build.lower(network, encodings, ranges, activation_bits)
