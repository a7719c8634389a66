"""Training jobs in tests: a quick fake one, known here and in the workers that a test starts."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from studio.core import registry
from studio.jobs import _process, _worker
from studio.jobs._folder import JobFolder

FAKE = Path(__file__).with_name("process_fake.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("process_fake", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Forked:
    """A worker that starts at once, because torch is loaded already: a fork of the test's own process."""

    def __init__(self, folder: JobFolder) -> None:
        self.pid = os.fork()
        self.ended: int | None = None
        if self.pid == 0:
            code = 1
            try:
                sys.stderr = (folder.path / "log").open("a", buffering=1)
                code = _worker.main([str(folder.path)])
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        if self.ended is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.ended = status if done else None
        return self.ended


@pytest.fixture
def fake_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The job "fake", here and in workers; all workers of the test are ended after it."""
    monkeypatch.setattr(registry, "names", registry.names)  # put back after the test
    monkeypatch.setitem(sys.modules, "studio.jobs.fake", ModuleType("unused"))
    _load().register()
    monkeypatch.setattr(_process, "WORKER", (str(FAKE),))
    yield
    for job in _process.find_unfinished():
        job.discard()


@pytest.fixture
def fake(fake_job: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with workers that start at once."""
    monkeypatch.setattr(_process, "spawn", lambda folder, recipe, locks: Forked(folder))
