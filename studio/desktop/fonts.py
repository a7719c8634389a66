"""Inter and JetBrains Mono in the few sizes that the app uses.

Painted views draw at scale 1 on a scaled painter (`canvas`); widgets of Qt get scaled fonts and sizes (`px`).
"""

from __future__ import annotations

from functools import cache

from PySide6.QtGui import QFont, QFontDatabase

from studio.core import paths

FILES = ("Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf", "JetBrainsMono-Regular.ttf")
BODY, SMALL, SECTION, PAGE = 13, 12.5, 13, 17
_scale = 1.0


def load() -> None:
    """Make the shipped fonts known to Qt; needs an application."""
    for name in FILES:
        QFontDatabase.addApplicationFont(str(paths.resource("fonts") / name))


def set_scale(scale: float) -> None:
    """1.0, or 1.5 for a projector."""
    global _scale
    _scale = scale


def factor() -> float:
    """Scale of all type: 1.0, or 1.5 for a projector."""
    return _scale


def px(size: float) -> int:
    """Pixels on screen of a size at scale 1."""
    return round(size * _scale)


def scaled(font: QFont) -> QFont:
    """Font for a widget of Qt, at the scale of all type."""
    made = QFont(font)
    made.setPixelSize(px(font.pixelSize()))
    return made


def strong(text: str) -> str:
    """Rich text in the heaviest shipped weight; Qt would draw `<b>` twice to fake a heavier one."""
    return f'<span style="font-weight:600">{text}</span>'


@cache
def make(size: float, weight: QFont.Weight = QFont.Weight.Normal, mono: bool = False) -> QFont:
    """Font of a size in pixels at scale 1, with figures of equal width."""
    font = QFont("JetBrains Mono" if mono else "Inter")
    font.setPixelSize(round(size))
    font.setWeight(weight)
    if not mono:
        font.setFeature(QFont.Tag("tnum"), 1)
    return font


def body() -> QFont:
    """Text of controls, scaled."""
    return scaled(make(BODY))


def body_unscaled() -> QFont:
    """Text of painted views, as large as that of controls."""
    return make(BODY)


def small() -> QFont:
    """Secondary text and axes: the smallest there is."""
    return make(SMALL)


def chip() -> QFont:
    """Technique chips."""
    return make(12.5, QFont.Weight.Medium)


def card() -> QFont:
    """Names on cards."""
    return make(14, QFont.Weight.DemiBold)


def section() -> QFont:
    """Titles of sections."""
    return make(SECTION, QFont.Weight.DemiBold)


def page() -> QFont:
    """Titles of pages and of the inspector."""
    return make(PAGE, QFont.Weight.DemiBold)


def gauge() -> QFont:
    """The large numbers of the budget bar."""
    return make(22, QFont.Weight.DemiBold)


def mono() -> QFont:
    """Shapes and file names."""
    return make(12.5, mono=True)
