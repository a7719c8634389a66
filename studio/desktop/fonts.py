"""Inter and JetBrains Mono in the few sizes that the app uses."""

from __future__ import annotations

from functools import cache

from PySide6.QtGui import QFont, QFontDatabase

from studio.core import paths

FILES = ("Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf", "JetBrainsMono-Regular.ttf")
_scale = 1.0


def load() -> None:
    """Make the shipped fonts known to Qt; needs an application."""
    for name in FILES:
        QFontDatabase.addApplicationFont(str(paths.resource("fonts") / name))


def set_scale(scale: float) -> None:
    """1.0, or 1.5 for a projector."""
    global _scale
    _scale = scale
    make.cache_clear()


@cache
def make(size: float, weight: QFont.Weight = QFont.Weight.Normal, mono: bool = False) -> QFont:
    """Font of a size in pixels at scale 1, with figures of equal width."""
    font = QFont("JetBrains Mono" if mono else "Inter")
    font.setPixelSize(round(size * _scale))
    font.setWeight(weight)
    if not mono:
        font.setFeature(QFont.Tag("tnum"), 1)
    return font


def body() -> QFont:
    """Text of controls."""
    return make(13)


def small() -> QFont:
    """Secondary text and axes: the smallest there is."""
    return make(12.5)


def chip() -> QFont:
    """Technique chips."""
    return make(12.5, QFont.Weight.Medium)


def card() -> QFont:
    """Names on cards."""
    return make(14, QFont.Weight.DemiBold)


def section() -> QFont:
    """Titles of sections."""
    return make(13, QFont.Weight.DemiBold)


def page() -> QFont:
    """Titles of pages and of the inspector."""
    return make(17, QFont.Weight.DemiBold)


def gauge() -> QFont:
    """The large numbers of the budget bar."""
    return make(22, QFont.Weight.DemiBold)


def mono() -> QFont:
    """Shapes and file names."""
    return make(12.5, mono=True)
