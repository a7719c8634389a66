"""List model formats that can be read, and export formats that can be written."""

from __future__ import annotations

import argparse

from studio.cli import _registries

EXAMPLE = "edge-studio formats"
arguments = _registries.arguments


def run(args: argparse.Namespace) -> int:
    """Print both registries."""
    rows = [{**row, "stage": "read"} for row in _registries.rows("formats")]
    rows += [{**row, "stage": "write"} for row in _registries.rows("export.targets")]
    return _registries.print_rows(rows, args)
