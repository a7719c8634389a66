"""List training jobs with their settings: what `compress --job NAME(key=value,..)` takes."""

from __future__ import annotations

import argparse

from studio.cli import _registries

EXAMPLE = "edge-studio jobs"
arguments = _registries.arguments


def run(args: argparse.Namespace) -> int:
    """Print the registry."""
    return _registries.show("jobs", args)
