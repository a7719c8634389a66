"""Start-up: the window first, everything heavy behind it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from PySide6.QtCore import QCoreApplication, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from studio.core import paths
from studio.desktop import fonts, icons, theme
from studio.desktop.notices import Notices

SWITCH_S = 0.0005


def make_application() -> QApplication:
    """Return the one application, with name, fonts, theme and settings in the user's folder."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")
    QCoreApplication.setOrganizationName("edge-compression-studio")
    QCoreApplication.setApplicationName("studio")
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(paths.user_folder()))
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    fonts.load()
    fonts.set_scale(1.5 if QSettings().value("presenter", False, bool) else 1.0)
    theme.apply(app, bool(QSettings().value("dark", False, bool)))
    app.setWindowIcon(icons.icon("network"))
    return app


def run(
    *, demo: bool = False, model: str | None = None, plan: str | None = None, trust: bool = False, **opened: Any
) -> int:
    """Open the window, on a model or the demo where asked; returns the exit code."""
    app = make_application()
    # Painting calls Qt hundreds of times, and each call may wait for a thread that holds Python's lock:
    # half a millisecond at most instead of five.
    sys.setswitchinterval(SWITCH_S)
    from studio.desktop.window import MainWindow

    notices = Notices()
    notices.install()
    window = MainWindow(notices)
    window.show()
    # torch takes more than a second to import: it comes while the person looks at the window.
    QTimer.singleShot(0, lambda: Thread(target=_warm_up, name="warm-up", daemon=True).start())
    if demo:
        QTimer.singleShot(0, window.open_demo)
    elif model is not None:
        from studio.session.autosave import Opened

        what = Opened(model, **{k: _text(v) for k, v in opened.items()})
        QTimer.singleShot(0, lambda: window.open_model(what, plan, trust=trust))
    code = app.exec()
    notices.uninstall()
    return code


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _warm_up() -> None:
    import torch

    import studio.engine.engine  # noqa: F401

    # One core stays free for the interface; more threads than cores would block each other.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
