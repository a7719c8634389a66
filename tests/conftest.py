"""Fixtures for all tests: where the shared models and data lie, a private home, one torch thread, a fixed seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # after the variable: it reads the number of threads as it is imported

torch.manual_seed(0)  # for the networks that test modules build as they are imported
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("STUDIO_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real models and data; the test is skipped, with a warning, where it is absent."""
    if not (SHARED / "data" / "CASES.json").exists():
        pytest.skip(f"no models and data at {SHARED}: set STUDIO_SHARED")
    return SHARED


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recent projects and autosaves of a test lie in a folder of its own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("STUDIO_HOME", str(folder))
    return folder


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make a module of the user's own from its text; returns its name. `{canary}`: file that tells that it ran."""

    def write(text: str) -> str:
        name = f"own_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text.format(canary=str(tmp_path / "canary")))
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return write


@pytest.fixture(autouse=True)
def seed() -> None:
    """What a test draws without a seed of its own is the same in every run and on every worker."""
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that the shared data was absent."""
    if not (SHARED / "data" / "CASES.json").exists():
        terminalreporter.write_line(f"!!! tests on real models were SKIPPED: {SHARED} is absent", red=True, bold=True)
