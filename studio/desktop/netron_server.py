"""Netron's own pages for one model file, served to this computer only and cut off from everything else.

As shipped Netron asks an outside address for the country, shows a cookie page, sends analytics and, half a
year after its date, shows only "please update". Here `index.html` is rewritten: version 0.0.0 (no
telemetry), no date (no age check), and a policy sent with every answer forbids every address but this one,
so that the question of consent is settled without being asked.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, unquote, urlparse

from studio.core.errors import FileError

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self' blob:; font-src 'self' data:; frame-src 'none'; object-src 'none'; "
    "form-action 'none'; base-uri 'none'"
)
CONSENT = "consent.js"
CONSENT_SCRIPT = b"document.cookie = 'consent=1;path=/';\n"
TYPES = {".html", ".js", ".css", ".png", ".ico", ".json", ".svg"}


class NetronServer:
    """Serves one file on a free port of 127.0.0.1 until `close`; `url` is what a browser opens.

    Addresses begin with a random word, so that other pages and users of this computer cannot guess them.
    Raises FileError where the file is missing.
    """

    def __init__(self, model: Path) -> None:
        self.model = model.expanduser().resolve()
        if not self.model.is_file():
            raise FileError("is not there any more.", where=str(self.model), remedy="Open the network again.")
        self._word = secrets.token_urlsafe(12)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.model, f"/{self._word}/"))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{self._word}/"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; the port is free when this returns."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def page(model: Path) -> bytes:
    """Netron's start page for a model: no date, no real version, consent given, own policy."""
    text = (netron_folder() / "index.html").read_text(encoding="utf-8")
    name = model.name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    metas = "\n".join((
        f'<script type="text/javascript" src="{CONSENT}"></script>',
        '<meta name="type" content="Python">', '<meta name="version" content="0.0.0">',
        f'<meta name="file" content="data/{quote(model.name)}">', f'<meta name="identifier" content="{name}">',
    ))  # fmt: skip
    text = re.sub(r'<meta name="date"[^>]*>\s*', "", text)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>\s*', "", text)
    text, count = re.subn(r'<meta name="version"[^>]*>', lambda _: metas, text)
    if count != 1:
        raise FileError("Netron's start page is not as expected.", remedy="Install netron 9 again.")
    return text.encode()


def netron_folder() -> Path:
    """Folder of the installed Netron; importing it starts nothing."""
    from importlib.util import find_spec

    found = find_spec("netron")
    if found is None or found.origin is None:
        raise FileError("Netron is not installed.", remedy="Install it with: pip install netron")
    return Path(found.origin).parent


def _handler(model: Path, root: str) -> type[BaseHTTPRequestHandler]:
    folder = netron_folder().resolve()

    class Handler(BaseHTTPRequestHandler):
        """Answers GET and HEAD below `root` for Netron's files, and for this one model."""

        def do_GET(self) -> None:
            """Send a file."""
            self._answer(True)

        def do_HEAD(self) -> None:
            """Send what GET would send, without the content."""
            self._answer(False)

        def _answer(self, whole: bool) -> None:
            path = unquote(urlparse(self.path).path)
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            found = _content(path.removeprefix(root)) if path.startswith(root) and host == "127.0.0.1" else None
            kind, content = found or ("text/plain", b"not found")
            self.send_response(200 if found else 404)
            for name, value in (
                ("Content-Type", kind), ("Content-Length", str(len(content))), ("Content-Security-Policy", POLICY),
                ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-store"),
            ):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            if whole:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    def _content(name: str) -> tuple[str, bytes] | None:
        """Type and content of what lies under `name`; None for everything that is not meant to be seen."""
        if name in ("", "index.html"):
            return "text/html; charset=utf-8", page(model)
        if name == CONSENT:
            return "text/javascript", CONSENT_SCRIPT
        if name == f"data/{model.name}":
            return "application/octet-stream", model.read_bytes()
        file = (folder / name).resolve()
        if file.parent != folder or file.suffix not in TYPES or not file.is_file():
            return None
        return mimetypes.guess_type(file.name)[0] or "application/octet-stream", file.read_bytes()

    return Handler
