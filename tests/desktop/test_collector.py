"""Memory of a model is given back when another one takes its place."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from studio.desktop.collector import PERIOD_MS, Collector


class Model:
    """Something that only a collection frees: it knows itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def collector(qtbot: QtBot) -> Iterator[Collector]:
    parent = QObject()
    made = Collector(parent)
    yield made
    made.close()
    gc.unfreeze()


def test_a_settled_model_is_freed_when_the_next_one_settles(collector: Collector, qtbot: QtBot) -> None:
    model = Model()
    gone = weakref.ref(model)
    collector.settle()
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=20 * PERIOD_MS)
    del model
    assert gone() is not None  # a cycle, left out of collections
    collector.settle()
    qtbot.waitUntil(lambda: gone() is None, timeout=20 * PERIOD_MS)
