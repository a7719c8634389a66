"""Run the main job on the bundled demo: load, plan, preview, export, verify, attend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from studio.cli import _common as common

EXAMPLE = "edge-studio demo --headless --out demo"
CROP = (32, 32)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Headless or in the app."""
    parser.add_argument("--headless", action="store_true", help="no window: print what is done, end with the table")
    parser.add_argument(
        "--out", default="edge-studio-demo", metavar="DIR", help="export folder (default ./edge-studio-demo)"
    )
    parser.add_argument("--force", action="store_true", help="write into a folder that holds other files")
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Open the demo in the app, or run it headless to its table."""
    if not (args.headless or args.json):
        from studio.desktop import start

        return start(demo=True)
    from studio.cli.attend import print_selectors
    from studio.cli.compress import files, print_results

    found = headless(Path(args.out), force=args.force)
    if args.json:
        common.print_json(found)
    else:
        print_selectors(found["attend"])
        sys.stdout.write("\n")
        print_results(found)
        for name in found["files"]:
            if name.endswith(".png"):
                sys.stdout.write(f"{Path(args.out).resolve() / name}\n")
    return 0 if all(row["passed"] for row in files(found)) else 1


def headless(out: Path, *, force: bool = False) -> dict[str, Any]:
    """Do the main job; says on stderr what it does; returns the manifest, and under `attend` the measurement."""
    from studio.cli.compress import preset
    from studio.core.plan import Attention, Step
    from studio.engine.attend import attend
    from studio.session import demo

    with common.progress_on_stderr() as progress:
        _say("Opening the demo: six kinds of parts on a belt, a small residual network on 32x32 crops.")
        session = demo.open_demo(progress=progress)
        try:
            _say("Plan: every layer int8, the largest layer pruned by half, edge density in front of the network.")
            largest = max(session.graph.weighted, key=lambda layer: layer.parameters).name
            session.set_plan(preset("int8"), "all int8")
            session.wait()
            plan = preset("int8").with_step(largest, Step("prune_weights", amount=0.5))
            session.set_plan(demo.with_attention(plan, Attention("edge_density", crop=CROP)), "demo")
            session.wait()
            frames = demo.frames()
            found = session.export(out, ("onnx", "tflite"), force=force, frames=frames, plots=True, progress=progress)
            seen = attend(frames, "edge_density", {}, crop=CROP, model=session.path, preprocess=None, progress=progress)
        finally:
            session.close()
    return {**found, "attend": seen}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
