"""Training jobs in tests: a quick fake one, known here and in the workers that a test starts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from studio.core import registry
from studio.jobs import _process

FAKE = Path(__file__).with_name("process_fake.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("process_fake", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The job "fake", here and in workers; all workers of the test are ended after it.

    Workers are started as in the app: a fork of this process, threads and all, would now and then hang.
    """
    monkeypatch.setattr(registry, "names", registry.names)  # put back after the test
    monkeypatch.setitem(sys.modules, "studio.jobs.fake", ModuleType("unused"))
    _load().register()
    monkeypatch.setattr(_process, "WORKER", (str(FAKE),))
    yield
    for job in _process.find_unfinished():
        job.discard()
