"""A model file in Netron: in a window of its own where Qt's web engine is installed, else in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QMainWindow, QWidget

from studio.core.errors import FileError
from studio.desktop.netron_server import NetronServer

_servers: dict[Path, NetronServer] = {}


def open_netron(model: Path, parent: QWidget | None = None) -> QWidget | None:
    """Show a model file; returns the window, or None where the system's browser shows it.

    Raises FileError where the file is gone or nothing can show it.
    """
    server = serve(model)
    engine = _web_engine()
    if engine is not None:
        window = NetronWindow(engine, server, parent)
        window.show()
        return window
    if not QDesktopServices.openUrl(QUrl(server.url)):
        remedy = f"Open {server.url} in a browser on this computer."
        raise FileError("no browser could be started to show the network.", where=str(model), remedy=remedy)
    return None


def serve(model: Path) -> NetronServer:
    """Server of a model file; one a file, for as long as the app runs."""
    path = model.expanduser().resolve()
    if path not in _servers:
        _servers[path] = NetronServer(path)
    return _servers[path]


def close_servers() -> None:
    """Stop all servers, at the end of the app."""
    while _servers:
        _servers.popitem()[1].close()


def _web_engine() -> Any:
    """Qt's web engine with its widgets, or None where it is not installed or there is no real screen."""
    if QGuiApplication.platformName() in ("offscreen", "minimal"):
        return None
    try:
        from PySide6 import QtWebEngineCore, QtWebEngineWidgets
    except ImportError:
        return None
    return QtWebEngineCore, QtWebEngineWidgets


class NetronWindow(QMainWindow):
    """Netron in Qt's web engine, which is started here and not before: it takes 200 MB."""

    def __init__(self, engine: Any, server: NetronServer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        core, widgets = engine
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"{server.model.name} – Netron")
        self.resize(1100, 800)
        here = f"127.0.0.1:{server.port}"

        class Guard(core.QWebEngineUrlRequestInterceptor):  # type: ignore[misc, name-defined]
            """Lets nothing out but requests to our own server."""

            def interceptRequest(self, info: Any) -> None:
                """Block what goes elsewhere."""
                url = info.requestUrl()
                if url.scheme() in ("http", "https", "ws", "wss") and url.authority() != here:
                    info.block(True)

        # A profile without a name keeps nothing on disk.
        self._profile = core.QWebEngineProfile(self)
        self._guard = Guard(self)
        self._profile.setUrlRequestInterceptor(self._guard)
        self.view = widgets.QWebEngineView(self)
        self._page = core.QWebEnginePage(self._profile, self.view)
        self.view.setPage(self._page)
        self.view.load(QUrl(server.url))
        self.setCentralWidget(self.view)
