"""Networks from the user's own code: only when trusted, and nothing in a file is ever run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import studio
from studio.core.errors import FileError, ModelError, PlanError
from studio.formats import _factory

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))

def make():
    open({canary!r}, "w").close()
    return Net(), (1, 3, 8, 8)

def broken():
    raise ValueError("no")
"""


@pytest.fixture
def code(own_module: Callable[[str], str]) -> str:
    return own_module(CODE)


def module(code: str) -> nn.Module:
    __import__(code)
    made: nn.Module = sys.modules[code].Net().eval()
    made.get_buffer("bn1.running_mean").uniform_(-1, 1)
    return made


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_state_dict_with_a_trusted_factory(suffix: str, code: str, tmp_path: Path) -> None:
    net = module(code)
    path = tmp_path / f"weights{suffix}"
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    found = _factory.from_factory(path, f"{code}:make", trust=True, input_shape=None)
    assert [n.name for n in found.nodes if n.kind in ("conv", "linear")] == ["conv1", "fc"]
    x = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(found(x)[0], net(x), atol=1e-5, rtol=1e-5)


def test_untrusted_code_is_not_run(code: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="trust"):
        studio.open(None, factory=f"{code}:make")
    assert not (tmp_path / "canary").exists()


def test_hostile_pickle_is_refused_and_not_run(code: str, tmp_path: Path) -> None:
    canary = tmp_path / "pwned"

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(canary), "w")

    path = tmp_path / "weights.pth"
    content = io.BytesIO()
    torch.save({"state_dict": Attack()}, content)
    path.write_bytes(content.getvalue())
    with pytest.raises(FileError, match="nothing in it was run"):
        _factory.from_factory(path, f"{code}:make", trust=True, input_shape=None)
    assert not canary.exists()


def test_weights_that_do_not_fit(code: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="do not fit"):
        _factory.from_factory(path, f"{code}:make", trust=True, input_shape=None)


@pytest.mark.parametrize(
    ("factory", "words"), [("nowhere:make", "nowhere"), ("{code}:broken", "no"), ("make", "module")]
)
def test_factories_that_fail(factory: str, words: str, code: str) -> None:
    with pytest.raises((ModelError, PlanError), match=words):
        _factory.from_factory(None, factory.format(code=code), trust=True, input_shape=None)


def test_module_in_memory(code: str) -> None:
    session = studio.open(module(code), input_shape=(1, 3, 8, 8))
    assert session.graph.parameters == sum(p.numel() for p in module(code).parameters() if p.dim()) - 8
    session.close()


@pytest.mark.parametrize(("body", "said"), [("return 3", "int"), ("raise SystemExit(0)", "SystemExit")])
def test_a_factory_that_makes_no_module(body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"factory_{said.lower()}"
    (tmp_path / f"{name}.py").write_text(f"def make():\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=said):
        _factory.from_factory(None, f"{name}:make", trust=True, input_shape=None)
