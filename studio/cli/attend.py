"""Selective attention on frames: hit rate, IoU, pixels and MACs beside the baselines."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from studio.cli import _common as common

EXAMPLE = "edge-studio attend frames/ --selector edge_density --class WBC --crop 128x128"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Frames, selector and what is compared."""
    parser.add_argument("frames", metavar="DATA", help="folder with annotations.json, or .npz with frames and boxes")
    parser.add_argument("--selector", required=True, metavar="SPEC", help="'edge_density' or 'edge_density(stride=4)'")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="class of interest (default: any box)")
    parser.add_argument("--crop", metavar="HxW", help="window in frame pixels (default: the network's input size)")
    parser.add_argument(
        "--hit", type=float, default=0.9, help="share of the box's area that must be inside (default 0.9)"
    )
    parser.add_argument("--model", metavar="MODEL", help="network for accuracy and MACs")
    common.preprocess_arguments(parser)
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table of selectors."""
    from studio.cli.compress import parse_size
    from studio.core.setspec import parse_call
    from studio.engine.attend import attend

    name, settings = parse_call(args.selector)
    with common.progress_on_stderr() as progress:
        found = attend(
            args.frames, name, settings, class_name=args.class_name, crop=parse_size(args.crop), hit=args.hit,
            model=args.model, preprocess=args.preprocess, label=args.label, samples=args.samples, seed=args.seed,
            progress=progress,
        )  # fmt: skip
    if args.json:
        common.print_json(found)
    else:
        print_selectors(found)
    return 0


def print_selectors(found: dict[str, Any]) -> None:
    """Print one line a selector, the chosen one first."""
    rows = []
    for row in [found, *found["selectors"]]:
        macs, accuracy = row["macs"], row["accuracy"]
        total = None if macs["stage2"] is None else macs["stage1"] + macs["stage2"]
        rows.append((
            row["selector"], common.percent(row["hits"]["rate"]), _fixed(row["iou_mean"]),
            common.percent(row["pixels_kept"]), common.percent(accuracy["with"] if accuracy else None),
            common.count(macs["stage1"]), _count(macs["stage2"]), _count(total),
            common.percent(row["skipped_rate"]),
        ))  # fmt: skip
    name = found["class"] or "any box"
    title = f"{name} in {found['frames']:,} frames; a hit holds {found['hits']['threshold']:.0%} of the box"
    columns = ("selector", "hits", "IoU", "pixels", "accuracy", "stage 1", "stage 2", "operations", "skipped")
    common.table(title, columns, rows, right=range(1, 9))
    for note in (found["accuracy_note"], found["macs"]["full_reason"]):
        if note:
            sys.stdout.write(f"{note}\n")


def _count(value: float | None) -> str:
    return "–" if value is None else common.count(value)


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
