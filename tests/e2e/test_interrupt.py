"""Ctrl-C at any moment: exit code 130, no traceback, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import paths


@pytest.mark.parametrize("after", ["Reading the network", "Running the preview", "Running the file"])
def test_ctrl_c_while_compressing(after: str, tmp_path: Path) -> None:
    demo = paths.resource("demo")
    command = [sys.executable, "-m", "studio", "compress", demo / "parts.onnx", "--data", demo / "crops_test.npz"]
    command += ["--preset", "int8", "--out", tmp_path / "out", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.startswith(after):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        out = process.stdout.read()
        code = process.wait(60)
    assert code == 130, rest
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1] == "Stopped; nothing is half-written."
    assert out == ""
    assert not (tmp_path / "out").exists()
