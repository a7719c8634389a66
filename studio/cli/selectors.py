"""List selectors of the attention stage with their settings."""

from __future__ import annotations

import argparse

from studio.cli import _registries

EXAMPLE = "edge-studio selectors"
arguments = _registries.arguments


def run(args: argparse.Namespace) -> int:
    """Print the registry."""
    return _registries.show("attention", args)
