"""Netron's pages served for one file, cut off from the outside."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import FileError
from studio.desktop.netron_server import NetronServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NetronServer]:
    model = tmp_path / 'my "net" & more.onnx'
    model.write_bytes(b"the model's bytes")
    (tmp_path / "secret.txt").write_text("secret")
    made = NetronServer(model)
    yield made
    made.close()


def get(server: NetronServer, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.port}"})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def root(server: NetronServer) -> str:
    return server.url.removeprefix(f"http://127.0.0.1:{server.port}")


def test_start_page_has_no_date_no_version_and_its_consent(server: NetronServer) -> None:
    status, headers, content = get(server, root(server))
    text = content.decode()
    assert status == 200
    assert '<meta name="version" content="0.0.0">' in text
    assert 'name="date"' not in text
    assert text.index("consent.js") < text.index("index.js")
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert 'content="my &quot;net&quot; &amp; more.onnx"' in text


def test_model_is_served_as_it_is(server: NetronServer) -> None:
    _, _, text = get(server, root(server))
    address = text.decode().split('name="file" content="')[1].split('"')[0]
    assert get(server, root(server) + address)[0::2] == (200, b"the model's bytes")


@pytest.mark.parametrize("name", ["index.js", "browser.js", "onnx.js", "grapher.css", "onnx-metadata.json"])
def test_scripts_are_served_with_the_policy(server: NetronServer, name: str) -> None:
    status, headers, content = get(server, root(server) + name)
    assert status == 200
    assert content
    assert "connect-src 'self'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", [
    "server.py", "__init__.py", "../netron/server.py", "..%2f..%2f..%2fetc%2fpasswd", "data/secret.txt",
    "data/../secret.txt", "data/%2e%2e/secret.txt", "/etc/passwd", "nothing.js",
])  # fmt: skip
def test_nothing_else_is_served(server: NetronServer, name: str) -> None:
    assert get(server, root(server) + name)[0] == 404


def test_without_the_random_word_nothing_is_served(server: NetronServer) -> None:
    assert get(server, "/")[0] == 404
    assert get(server, "/index.html")[0] == 404


def test_another_name_for_this_computer_is_refused(server: NetronServer) -> None:
    assert get(server, root(server), host="evil.example:80")[0] == 404


def test_listens_on_this_computer_only_and_frees_its_port(tmp_path: Path) -> None:
    model = tmp_path / "a.onnx"
    model.write_bytes(b"x")
    made = NetronServer(model)
    assert made._server.server_address[0] == "127.0.0.1"
    made.close()
    with socket.socket() as again:
        again.bind(("127.0.0.1", made.port))


def test_two_models_at_once(tmp_path: Path) -> None:
    servers = []
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(name.encode())
        servers.append(NetronServer(tmp_path / name))
    try:
        for made in servers:
            assert get(made, f"{root(made)}data/{made.model.name}")[2] == made.model.name.encode()
    finally:
        for made in servers:
            made.close()


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not there"):
        NetronServer(tmp_path / "gone.onnx")
