"""Steps that layers do not take: listed with their reasons, counted, said in the card of the technique."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QLabel
from pytestqt.qtbot import QtBot

from studio.core.plan import Plan, Step
from studio.desktop.network.skipped import counted, reasons, where_from
from studio.engine.resolve import Skipped
from studio.session.layer_parts import skipped_on

LEFT = Qt.MouseButton.LeftButton
WAIT_MS = 120_000


def test_steps_and_layers_are_counted() -> None:
    found = [Skipped("a", "quantize", "."), Skipped("b", "quantize", "."), Skipped("b", "huffman", ".")]
    assert counted(found) == "2 steps skipped on 2 layers"
    assert counted(found[:1]) == "1 step skipped on 1 layer"
    assert counted([]) == ""


def test_reasons_name_the_factor_once() -> None:
    found = [Skipped("a/1", "quantize", "One."), Skipped("a/2", "quantize", "Two."), Skipped("a", "quantize", "Three.")]
    assert reasons([*found, found[0]], "a") == "/1: One. /2: Two. Three."


def test_all_skipped_steps_are_listed(demo: Any, qtbot: QtBot) -> None:
    network = demo.network
    plan = Plan(defaults=(Step("low_rank"), Step("prune_weights", pattern="2:4")))
    demo.session.set_plan(plan, "test")
    qtbot.waitUntil(lambda: len(network.skipped.steps) == 5, timeout=WAIT_MS)
    assert network.skipped.steps == demo.session.engine.skipped(plan)
    assert network.lists.tabText(network.lists.indexOf(network.skipped)) == "Skipped 5"
    assert network.inspector.skipped_link.text() == "1 step skipped on 5 layers"
    qtbot.mouseClick(network.inspector.skipped_link, LEFT)
    assert network.lists.currentWidget() is network.skipped
    table = network.skipped.table
    qtbot.waitUntil(lambda: table.rowCount() == 5, timeout=WAIT_MS)
    rows = [[table.item(i, column).text() for column in range(4)] for i in range(table.rowCount())]
    assert rows[0] == [
        "conv1", "Sparsity", "all layers", "Pattern 2:4 needs input channels in fours; it has 3 input channels.",
    ]  # fmt: skip
    assert rows[-1][:3] == ["fc/2", "Sparsity", "inherited"]
    table.setCurrentCell(4, 0)  # a factor: its layer is shown
    assert network.inspector.title.text() == "fc"
    demo.undo()
    qtbot.waitUntil(lambda: not network.skipped.steps, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: table.rowCount() == 0, timeout=WAIT_MS)
    assert not network.inspector.skipped_link.isVisible()


def test_the_card_says_why_the_plans_own_settings_do_not_fit(demo: Any, qtbot: QtBot) -> None:
    cards = demo.network.inspector.cards
    demo.network.graph.select(["conv1"], "conv1")
    demo.session.set_plan(Plan(defaults=(Step("prune_weights", pattern="2:4"),)), "test")
    card = cards["prune_weights"]  # other settings would fit: the slider stays
    qtbot.waitUntil(lambda: card.skipped.isVisible(), timeout=WAIT_MS)
    assert card.skipped.text() == "Skipped: Pattern 2:4 needs input channels in fours; it has 3 input channels."
    assert "skipped" in card.effect.text()
    assert card.controls["amount"].isVisible()
    assert not cards["quantize"].skipped.text()
    other = "layer1.0.conv1"
    demo.network.graph.select([other], other)
    assert card.on
    assert not card.skipped.isVisible()


def test_a_greyed_card_says_that_the_plan_has_the_step(demo: Any, qtbot: QtBot) -> None:
    demo.network.graph.select(["fc"], "fc")
    card = demo.network.inspector.cards["prune_channels"]
    reason = "The channels of fc must stay: they are the network's output."
    assert card.reason.text() == reason
    demo.use_preset("structured-int8")
    qtbot.waitUntil(lambda: card.reason.text() == f"Skipped: {reason}", timeout=WAIT_MS)
    assert not card.skipped.isVisible()
    demo.undo()
    qtbot.waitUntil(lambda: card.reason.text() == reason, timeout=WAIT_MS)


def test_the_export_dialog_says_how_many(demo: Any, qtbot: QtBot) -> None:
    demo.use_preset("structured-int8")
    demo.export()
    dialog = demo.findChild(QDialog, "export-dialog")
    qtbot.waitUntil(lambda: len(dialog.rows) >= 2, timeout=WAIT_MS)
    texts = [label.text() for label in dialog.findChildren(QLabel)]
    assert "1 step skipped on 1 layer: the list is under Skipped, below the graph." in texts
    dialog.close()


def test_origin_and_owner_of_a_skipped_step(demo: Any) -> None:
    graph = demo.session.graph
    own = Plan(layers={"conv1/1": (Step("quantize"),)})
    factor, cut = Skipped("conv1/1", "quantize", "."), Skipped("layer2.0.conv2", "prune_channels", ".")
    assert where_from(factor, own, graph) == "set here"
    assert where_from(factor, Plan(), graph) == "inherited"
    assert where_from(cut, Plan(), graph) == "all layers"
    steps = (factor, cut)
    assert skipped_on(steps, graph.layer("conv1"), graph) == (factor,)
    assert skipped_on(steps, graph.layer("layer2.0.shortcut.0"), graph) == (cut,)  # cut together
    assert skipped_on((Skipped("layer2.0.conv2", "quantize", "."),), graph.layer("layer2.0.shortcut.0"), graph) == ()
