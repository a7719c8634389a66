"""Views of one layer: channels cut together, levels and centroids, ranks, codes, filters, kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QInputDialog
from pytestqt.qtbot import QtBot

from studio.core.plan import Step
from studio.desktop import theme
from studio.desktop.network.layer_views import TABS, kernel_text
from studio.desktop.network.mosaic import colored
from studio.desktop.network.thumbnails import BINS, DETAIL, Thumbnail, together
from studio.techniques._fast_facts import FastFacts

WAIT_MS = 120_000
NAME, COMPANION = "layer2.0.conv2", "layer2.0.shortcut.0"


@pytest.fixture
def demo(demo: Any) -> Any:
    """The window with the demo open and a layer chosen that is cut together with another."""
    demo.network.graph.select([NAME], NAME)
    return demo


def show(demo: Any, view: str) -> Any:
    views = demo.network.inspector.views
    views.tabs.setCurrentIndex([name for name, *_ in TABS].index(view))
    return views


def test_companions_are_marked_and_named(demo: Any) -> None:
    model = demo.network.graph.model
    assert model.companions == {COMPANION}
    card = demo.network.inspector.cards["prune_channels"]
    assert COMPANION in card._note_text.text()
    assert card.action.isVisible()
    last = demo.session.graph.weighted[-1].name  # its outputs are the answer: nothing to cut
    demo.network.graph.select([last], last)
    assert not model.companions
    assert not card.note.isVisible()


def test_dropped_channels_are_gaps_and_outlines(demo: Any, qtbot: QtBot) -> None:
    demo.session.set_step(NAME, Step("prune_channels", amount=0.25, scope="layer", criterion="l2"))
    chart = demo.network.inspector.importance
    qtbot.waitUntil(lambda: int(chart._gone().sum()) == 6, timeout=WAIT_MS)  # a quarter of 24
    thumbnails = demo.network.graph.thumbnails
    qtbot.waitUntil(lambda: thumbnails.find(COMPANION).dead.sum() == 6, timeout=WAIT_MS)
    kept = demo.session.layer(NAME).kept
    assert np.array_equal(thumbnails.find(COMPANION).dead, ~kept)
    assert demo.session.layer("layer2.0.conv1").kept is None


def test_furthest_cut_is_found_in_the_background(demo: Any, qtbot: QtBot, measured: Callable[[Any], None]) -> None:
    measured(demo)
    card, before = demo.network.inspector.cards["prune_channels"], demo.session.plan

    def answer() -> None:
        asked = QApplication.activeModalWidget()
        assert isinstance(asked, QInputDialog)
        asked.setDoubleValue(20)
        asked.accept()

    QTimer.singleShot(200, answer)
    qtbot.mouseClick(card.action, Qt.MouseButton.LeftButton)
    assert demo.status.cancel.isVisible()
    qtbot.waitUntil(lambda: demo.session.plan != before, timeout=WAIT_MS)
    (step,) = demo.session.plan.groups[NAME]
    assert 0 < step.values.amount <= 0.95
    assert any("Furthest cut" in text for text in demo.notice_bar.texts())
    demo.undo()
    assert demo.session.plan == before


def test_furthest_cut_can_be_cancelled(demo: Any, qtbot: QtBot) -> None:
    before = demo.session.plan
    demo.network.furthest.start([NAME], Step("prune_channels"), 0.5)
    demo.cancel()
    assert not demo.network.furthest.job.busy
    demo.network.furthest.job.wait()
    QApplication.processEvents()
    assert demo.session.plan == before


def test_centroids_stand_in_the_histogram(demo: Any, qtbot: QtBot) -> None:
    demo.session.set_step(NAME, Step("share_weights", bits=3))
    inspector = demo.network.inspector
    qtbot.waitUntil(lambda: "8 centroids" in inspector.weights_title.text(), timeout=WAIT_MS)
    assert set(np.unique(demo.session.layer(NAME).stored)) <= set(inspector.weights._levels)


def test_rank_line_moves_the_slider_as_one_entry(demo: Any, qtbot: QtBot) -> None:
    demo.session.set_step(NAME, Step("low_rank", form="channel", data_aware=False))
    views, before = show(demo, "ranks"), demo.session.plan
    qtbot.waitUntil(lambda: views.spectrum is not None and views.ranks.rank is not None, timeout=WAIT_MS)
    box = views.ranks._box()
    for share in (0.7, 0.5, 0.25):
        views.ranks._move(round(share * 24), share == 0.25)
    assert box.width() > 100
    (step,) = demo.session.plan.steps(NAME)
    assert demo.session.layer(NAME).spectrum.rank == 6
    slider = demo.network.inspector.cards["low_rank"].controls["keep"]
    qtbot.waitUntil(lambda: abs(slider.value() - step.values.keep) < 0.006, timeout=WAIT_MS)
    demo.undo()
    assert demo.session.plan == before


def test_rank_moves_by_keys(demo: Any, qtbot: QtBot) -> None:
    demo.session.set_step(NAME, Step("low_rank", form="channel", data_aware=False, keep=0.5))
    views = show(demo, "ranks")
    qtbot.waitUntil(lambda: views.ranks.rank is not None, timeout=WAIT_MS)
    rank = views.ranks.rank
    qtbot.keyClick(views.ranks, Qt.Key.Key_Left)
    assert demo.session.layer(NAME).spectrum.rank == rank - 1


def test_factors_are_listed(demo: Any, qtbot: QtBot) -> None:
    demo.session.set_step(NAME, Step("low_rank"))
    card = demo.network.inspector.cards["low_rank"]
    qtbot.waitUntil(lambda: card._note_text.text().startswith("/1 "), timeout=WAIT_MS)
    views = show(demo, "code")
    qtbot.waitUntil(lambda: "several factors" in views.message.text(), timeout=WAIT_MS)


def test_code_view_tells_real_bits(demo: Any, qtbot: QtBot) -> None:
    demo.session.apply([NAME], Step("quantize", weight_bits=4))
    demo.session.apply([NAME], Step("huffman"))
    views = show(demo, "code")
    qtbot.waitUntil(lambda: views.text.text().startswith("Huffman"), timeout=WAIT_MS)
    assert views.text.text() == demo.session.layer(NAME).code.sentence


def test_filters_before_and_after(demo: Any, qtbot: QtBot) -> None:
    views = show(demo, "filters")
    qtbot.waitUntil(lambda: len(views.filters._pictures) == 2, timeout=WAIT_MS)
    (_, before), (_, after) = views.filters._pictures
    assert np.array_equal(before, after, equal_nan=True)  # a float plan changes nothing


def test_kernel_view_says_why_not(demo: Any, qtbot: QtBot) -> None:
    demo.network.graph.select(["layer2.0.conv1"], "layer2.0.conv1")  # stride 2
    views = show(demo, "kernel")
    qtbot.waitUntil(lambda: "stride 2" in views.message.text(), timeout=WAIT_MS)


def test_kernel_text_says_not_faster() -> None:
    facts = FastFacts("winograd4", 400, 100, 2048, 8192, 512, 8192, 1e-6, 0, 1.0, 2.0, 1)
    text = kernel_text(facts)
    assert "not faster here" in text
    assert "75 % saved" in text
    assert "2.0 → 8.0 KiB" in text
    assert "by themselves" in text


def test_weights_as_colours() -> None:
    picture = np.array([[1.0, -1.0, 0.0, np.nan]], np.float32)
    image = colored(picture, 1.0, theme.LIGHT)
    named = [image.pixelColor(x, 0).name().upper() for x in range(3)]
    assert named == [theme.LIGHT.compressed, theme.LIGHT.sensitivity[2], theme.LIGHT.sunken]
    assert image.pixelColor(3, 0).alpha() == 0


def test_group_step_on_a_selection_is_one_entry(demo: Any, qtbot: QtBot) -> None:
    before = demo.session.plan
    demo.network.graph.select([NAME, COMPANION, "layer1.0.conv1"], NAME)
    card = demo.network.inspector.cards["prune_channels"]
    qtbot.mouseClick(card.check, Qt.MouseButton.LeftButton, pos=QPoint(8, card.check.height() // 2))
    assert set(demo.session.plan.groups) == {NAME, "layer1.0.conv1"}
    demo.undo()
    assert demo.session.plan == before


def test_facts_of_a_kernel_do_not_widen_the_inspector(demo: Any, qtbot: QtBot) -> None:
    views = show(demo, "kernel")
    qtbot.waitUntil(lambda: "Multiplications" in views.kernel.text(), timeout=WAIT_MS)
    inspector = demo.network.inspector
    assert inspector.widget().minimumSizeHint().width() <= inspector.viewport().width()


def sketched(before: np.ndarray, after: np.ndarray, edges: np.ndarray, channels: int) -> Thumbnail:
    """Thumbnail of a layer with these counts."""
    none = np.zeros(0)
    importance, dead = np.linspace(0, 1, channels), np.zeros(channels, bool)
    row: Any = None
    return Thumbnail(none, none, importance, dead, before, after, edges, none, row, ())


def test_a_block_shows_the_weights_of_all_its_layers() -> None:
    bins, side = BINS * DETAIL, BINS * DETAIL // 2
    wide, narrow = np.linspace(-2, 2, bins + 1), np.linspace(-1, 1, bins + 1)
    flat, spike = np.ones(bins), np.zeros(bins)
    spike[side] = 40.0  # just above zero
    found = together([sketched(flat, flat, wide, 3), sketched(spike, flat, narrow, 2)])
    assert found.before.argmax() == BINS // 2
    assert found.before[BINS // 2] == 1.0
    assert found.before[0] == pytest.approx(DETAIL / (DETAIL + 40))  # one weight a bin, beside the highest bar
    assert found.after[0] == found.before[0]  # outside the narrow layer's range there is only the wide one
    assert found.after[BINS // 2] == pytest.approx(3 * DETAIL / (DETAIL + 40))  # its bins are half as wide: 1 + 2
    assert found.importance.tolist() == [0, 0.5, 1, 0, 1]
    assert len(found.dead) == 5


def test_a_collapsed_block_is_drawn_from_its_layers(demo: Any, qtbot: QtBot) -> None:
    graph = demo.network.graph
    graph.toggle_block("layer2")
    (row,) = [row for row in graph.model.rows if row.kind == "block"]
    names = [layer.name for layer in row.layers if layer.weighted]
    qtbot.waitUntil(lambda: all(graph.thumbnails.find(name) for name in names), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "block layer2" in graph._pictures, timeout=WAIT_MS)
    thumbnails = tuple(graph.thumbnails.find(name) for name in names)
    qtbot.waitUntil(lambda: thumbnails in graph._pictures["block layer2"][0], timeout=WAIT_MS)
