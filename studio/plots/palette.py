"""Colours of the data, light and dark; text pairs have at least 4.5:1, marks at least 3:1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours by role, as `#RRGGBB`."""

    name: str
    panel: str  # behind the data
    line: str  # grid
    ctl: str  # axes, outlines
    text: str
    text2: str  # axis labels
    accent: str
    ok: str
    warn: str
    bad: str
    float_: str  # the float model: always an outline
    compressed: str  # the compressed one: always filled
    updating: str
    neutral: str
    importance: tuple[str, ...]  # low to high
    sensitivity: tuple[str, ...]  # 0 to 1 point lost


LIGHT = Palette(
    name="light",
    panel="#FFFFFF",
    line="#D0D6DD",
    ctl="#7F8996",
    text="#141A21",
    text2="#46515E",
    accent="#0F5FAE",
    ok="#18753F",
    warn="#96500A",
    bad="#B3261E",
    float_="#66717E",
    compressed="#1D76C6",
    updating="#858F9B",
    neutral="#A3ADB8",
    importance=("#E1F1ED", "#A9D5CB", "#62B0A3", "#23837A", "#0A4F4A"),
    sensitivity=("#FBEED8", "#F6CB88", "#E69A3E", "#BC611B", "#76310A"),
)

DARK = Palette(
    name="dark",
    panel="#1B1F25",
    line="#353D47",
    ctl="#75808E",
    text="#EDF0F4",
    text2="#B9C2CD",
    accent="#6DB5F8",
    ok="#63CE8F",
    warn="#F2B055",
    bad="#FF8E85",
    float_="#A3AFBC",
    compressed="#4BA0EA",
    updating="#7C8794",
    neutral="#6A7581",
    importance=("#14302D", "#1C5750", "#2F8479", "#62B6A6", "#C2F0E2"),
    sensitivity=("#3B2C18", "#70481A", "#B46C20", "#EA9E49", "#FFDFAE"),
)
