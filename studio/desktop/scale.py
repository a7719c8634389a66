"""Round values for an axis, and labels that are short and tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST = 5
"""Steps between the values of an axis, at most."""
PLAIN, KILO, MEGA = 1e4, 1e6, 1e9
"""Below the first, labels are plain numbers; below the others in thousands (12k) and millions (1.5M)."""
FINEST = 1e-3
"""Smaller steps are written with exponents: 2e-9."""


def round_values(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`; at least one for low < high."""
    size = _size((high - low) / MOST)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [i * size for i in range(first, last + 1)]


def labels(values: Sequence[float]) -> list[str]:
    """Texts of equally spaced values: as many digits as the distance needs, seven characters at most from zero on."""
    top = max(map(abs, values))
    step = values[1] - values[0] if len(values) > 1 else top or 1.0
    if top >= MEGA or step < FINEST:
        return [_exponential(value) for value in values]
    unit, letter = next((unit, letter) for most, unit, letter in _UNITS if top < most)
    places = _places(step / unit)
    return [f"{value / unit:.{places}f}{letter}" if value else "0" for value in values]


_UNITS: tuple[tuple[float, float, str], ...] = ((PLAIN, 1.0, ""), (KILO, 1e3, "k"), (MEGA, 1e6, "M"))


def _size(least: float) -> float:
    """Smallest round number that is no less."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))


def _places(step: float) -> int:
    """Decimals that tell multiples of a round number apart."""
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _exponential(value: float) -> str:
    """As short as it goes: 1.5e26, 2e-9, 0."""
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}" if value else "0"
