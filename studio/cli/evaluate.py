"""Run a model, or a file that the studio exported, in its real runtime."""

from __future__ import annotations

import argparse
from typing import Any

from studio.cli import _common as common

EXAMPLE = "edge-studio evaluate out/model.tflite --data test.npz"


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and data."""
    parser.add_argument(
        "file", metavar="FILE", help="model or exported file (.onnx, .tflite, .ecs, or a state dict with --factory)"
    )
    common.code_arguments(parser)
    common.data_arguments(parser, required=True)
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print metric, file size and latency."""
    from studio.engine.evaluate import evaluate_file

    common.find_code(args)
    with common.progress_on_stderr() as progress:
        found: dict[str, Any] = evaluate_file(
            args.file, args.data, preprocess=args.preprocess, label=args.label, samples=args.samples, seed=args.seed,
            factory=args.factory, trust=args.trust, progress=progress,
        )  # fmt: skip
    if args.json:
        common.print_json(found)
        return 0
    latency = f"{found['latency_ms']['median']:.3f} ms (90 %: {found['latency_ms']['p90']:.3f})"
    rows = [
        ("file", found["file"]), ("runtime", found["runtime"]), (found["metric"], common.percent(found["value"])),
        ("samples", f"{found['samples']:,}"), ("bytes", f"{found['file_bytes']:,}"), ("latency", latency),
    ]  # fmt: skip
    common.table("", ("", ""), rows)
    return 0
