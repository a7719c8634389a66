"""A window of its own for each test, closed in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core import paths
from studio.core.plan import Plan, Step
from studio.session.autosave import Opened

WAIT_MS = 180_000


@pytest.fixture
def window(qtbot: QtBot, home: object) -> Iterator[Any]:
    """The main window on its start page, with its own settings and notices."""
    from studio.desktop.app import make_application
    from studio.desktop.notices import Notices
    from studio.desktop.window import MainWindow

    make_application()
    made = MainWindow(Notices())
    made.resize(1440, 900)
    made.show()
    qtbot.waitExposed(made)
    # Without a window manager nobody gives the window the focus that shortcuts need.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        QApplication.setActiveWindow(made)
    yield made
    made.close()
    made.deleteLater()  # else every later change of the theme polishes its widgets again


@pytest.fixture
def demo(window: Any, qtbot: QtBot) -> Any:
    """The window with the demo open."""
    window.open_demo()
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    return window


@pytest.fixture
def open_to_train(window: Any, qtbot: QtBot) -> Callable[[int], None]:
    """Open the demo with data to train on, so many samples to evaluate on, and a pruned plan."""

    def opening(samples: int) -> None:
        folder = paths.resource("demo")
        few, test = (str(folder / f"crops_{name}.npz") for name in ("calibration", "test"))
        opened = Opened(str(folder / "parts.onnx"), test, calibration=few, train=few, samples=samples)
        window.open_model(opened, Plan(defaults=(Step("prune_weights", amount=0.6),)))
        qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)

    return opening


@pytest.fixture
def measured(qtbot: QtBot) -> Callable[[Any], None]:
    """Wait until the current plan of a window was measured on all samples, and the window says so."""

    def wait(window: Any) -> None:
        def done() -> bool:
            session = window.session
            known = session.measured.get(session.plan.key) if session else None
            if known is None or not known.result.complete:
                return False
            return bool(known.result.quick) or window.budget.gauges["accuracy"].reading.state == "measured"

        qtbot.waitUntil(done, timeout=WAIT_MS)

    return wait
