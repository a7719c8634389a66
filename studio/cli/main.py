"""Verbs, exit codes and errors of the command line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from studio import __version__

VERBS = {
    "open": "the desktop app, on the start page or straight on a model",
    "demo": "the main job on the bundled demo: load, plan, preview, export, verify",
    "inspect": "layers, weights and importance of a model",
    "evaluate": "run a model or an exported file in its real runtime",
    "sensitivity": "measure what each layer costs when it alone is compressed",
    "compress": "apply a plan, export, re-read and run each file",
    "attend": "selective attention on frames, beside its baselines",
    "techniques": "list compression techniques and their settings",
    "jobs": "list training jobs and their settings",
    "criteria": "list importance criteria",
    "formats": "list model formats that can be read and written",
    "selectors": "list selectors of the attention stage",
}
DONE, FAULT, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Parser that knows the verbs only; each verb's module adds its own arguments."""
    top = argparse.ArgumentParser(
        prog="edge-studio",
        description="Open a trained network, compress it layer by layer, export it for edge hardware.",
        epilog="`edge-studio VERB --help` explains a verb with an example. Without a verb the app opens.",
    )
    top.add_argument("--version", action="version", version=f"edge-studio {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, help_text in VERBS.items():
        verbs.add_parser(name, help=help_text, add_help=False)
    return top


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code (INTERFACE: 0 done, 1 our fault, 2 user's mistake, 130 Ctrl-C)."""
    arguments = list(arguments) or ["open"]
    if arguments[0] not in VERBS:
        parser().parse_args(arguments)  # prints help, version or the mistake, and exits
        return MISTAKE
    verb = importlib.import_module(f"studio.cli.{arguments[0]}")
    own = argparse.ArgumentParser(
        prog=f"edge-studio {arguments[0]}", description=verb.__doc__, epilog=f"Example: {verb.EXAMPLE}"
    )
    verb.arguments(own)
    return guarded(verb.run, own.parse_args(arguments[1:]))


def guarded(work: object, args: argparse.Namespace) -> int:
    """Run a verb; turn exceptions into messages on stderr and exit codes."""
    from studio.core.errors import Cancelled, StudioError

    try:
        code: int = work(args)  # type: ignore[operator]
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Cancelled):
        _say("Stopped; nothing is half-written.")
        return INTERRUPTED
    except StudioError as error:
        _say(f"edge-studio: {error}")
        return MISTAKE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception:
        traceback.print_exc()
        _say("edge-studio: this is a fault of the studio, not yours. Please report the lines above.")
        return FAULT


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
