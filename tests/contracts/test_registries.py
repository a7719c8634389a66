"""What everything that is registered has, and that looking costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import registry

ROOT = Path(__file__).resolve().parents[2]
ALL = [(kind, name) for kind in registry.OBJECTS for name in registry.names(kind)]
HEAVY = {"torch", "onnx", "onnxruntime", "ai_edge_litert", "PySide6", "matplotlib", "scipy", "sklearn", "IPython"}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_module_registers_one_object_with_its_own_name(kind: str, name: str) -> None:
    found = registry.find(kind, name)
    assert found.name == name
    assert found.title
    assert found.help.endswith(".")
    assert type(found).__doc__


def loaded(code: str) -> set[str]:
    """Heavy packages that a fresh Python has loaded after running `code`."""
    ending = "; import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    run = subprocess.run(
        [sys.executable, "-c", code + ending], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return HEAVY & set(json.loads(run.stdout.splitlines()[-1]))


def test_a_plan_is_read_without_loading_anything_heavy() -> None:
    plan = {"defaults": [{"technique": "quantize", "settings": {"weight_bits": 4}}], "layers": {"fc": []}}
    assert loaded(f"from studio.core.plan import Plan; Plan.from_json({plan!r})") == set()


@pytest.mark.parametrize("kind", list(registry.OBJECTS))
def test_registered_objects_load_nothing_heavy(kind: str) -> None:
    code = f"from studio.core import registry; [registry.find({kind!r}, n) for n in registry.names({kind!r})]"
    assert loaded(code) == set()


def test_the_package_loads_nothing_heavy() -> None:
    assert loaded("import studio") == set()
