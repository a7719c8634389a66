"""Values of settings as a person reads them: the same words in controls and in sentences."""

from __future__ import annotations

from typing import Any

from studio.core.settings import Declared


def written(setting: Declared, value: Any) -> str:
    """A value as its control shows it, with its unit: `4 bit`, `30 %`, `on`."""
    if setting.kind == "bool":
        return "on" if value else "off"
    if setting.kind not in ("int", "float"):
        return str(value).replace("_", "-")
    if shows_percent(setting):
        return f"{100 * value:.0f} %"
    return f"{value:g}" + (f" {setting.unit}" if setting.unit else "")


def shows_percent(setting: Declared) -> bool:
    """True for a share: shown as per cent."""
    return setting.kind == "float" and (setting.high or 0) <= 1 and setting.step is not None
