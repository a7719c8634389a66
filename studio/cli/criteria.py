"""List importance criteria with what they need."""

from __future__ import annotations

import argparse

from studio.cli import _registries

EXAMPLE = "edge-studio criteria"
arguments = _registries.arguments


def run(args: argparse.Namespace) -> int:
    """Print the registry."""
    return _registries.show("criteria", args)
