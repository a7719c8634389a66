"""List compression techniques with their stage, settings (JSON schema) and help."""

from __future__ import annotations

import argparse

from studio.cli import _registries

EXAMPLE = "edge-studio techniques --json"
arguments = _registries.arguments


def run(args: argparse.Namespace) -> int:
    """Print the registry."""
    return _registries.show("techniques", args)
