"""What changed since the last measurement: words with units, numbers of the whole model, the dashed handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.core.plan import Step
from studio.core.settings import declared
from studio.core.technique import Stage
from studio.desktop.network.setting_text import written
from studio.desktop.network.since import Since, only_changed, step_change
from studio.desktop.network.since_line import known, numbers_of
from studio.techniques.prune_weights import TECHNIQUE as PRUNE

WAIT_MS = 120_000
FOUR, EIGHT = Step("quantize", weight_bits=4), Step("quantize", weight_bits=8)


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (EIGHT, FOUR, "8 → 4 bit"),
        (Step("prune_weights", amount=0.5), Step("prune_weights", amount=0.3), "50 → 30 %"),
        (EIGHT, Step("quantize", weight_bits=4, per_channel=False), "8 → 4 bit, Per channel on → off"),
        (None, FOUR, "off → 4 bit"),
        (FOUR, None, "4 bit → off"),
        (FOUR, Step("share_weights", bits=3), "quantize 4 bit → 3 bit"),
        (None, Step("huffman"), "off → huffman coding"),
        (FOUR, Step("quantize", weight_bits=4), ""),
        (None, None, ""),
    ],
)
def test_changes_in_words(before: Step | None, now: Step | None, text: str) -> None:
    assert step_change(before, now) == text


def test_values_as_controls_show_them() -> None:
    settings = {setting.name: setting for setting in declared(PRUNE.settings)}
    assert written(settings["amount"], 0.305) == "30 %"
    assert written(settings["pattern"], "2:4") == "2:4"


def test_numbers_say_where_they_come_from() -> None:
    assert numbers_of(Since("", -12_083, -0.0012)) == ["−11.8 KiB", "−0.12 pt"]
    assert numbers_of(Since("", 512)) == ["+0.5 KiB"]
    assert known(Since("", 1)) == "bytes are counted"
    assert known(Since("", 1, 0.1, "updating", 250)) == "bytes are counted, points on 250 samples so far"


def test_slider_and_line_follow_the_measurement(window: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    window.open_demo()
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    session, name = window.session, "layer1.0.conv1"
    session.set_step(name, EIGHT)
    measured(window)
    window.network.graph.select([name], name)
    card = window.network.inspector.cards["quantize"]
    slider = card.controls["weight_bits"].slider
    qtbot.waitUntil(lambda: window.network.inspector._measured == session.plan, timeout=WAIT_MS)
    window.pause(True)
    card.more.setChecked(True)
    before = session.cost.flash_bytes
    session.set_step(name, FOUR)
    qtbot.waitUntil(lambda: slider.measured == 7, timeout=WAIT_MS)  # of 1 to 8 bits
    assert slider.value() == 3
    change = f"{(session.cost.flash_bytes - before) / 1024:+,.1f} KiB".replace("-", "−")
    qtbot.waitUntil(lambda: change in card.since.text, timeout=WAIT_MS)
    assert card.since.text.startswith("8 → 4 bit: ")
    assert card.since.isVisible()
    assert only_changed(session, window.network.inspector._measured, [name], Stage.GRID)
    session.set_step("fc", FOUR)  # the difference is no longer this step's alone
    qtbot.waitUntil(lambda: card.since.text == "8 → 4 bit", timeout=WAIT_MS)
    window.pause(False)
    measured(window)
    qtbot.waitUntil(lambda: slider.measured is None, timeout=WAIT_MS)
    assert not card.since.isVisible()
